"""`fxgpt bench sssd`: dense training against the same network window by window."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.models.sssd.throughput import WINDOWS, History, dense, measure, windows
from fxgpt_pipeline.cli import bench as verb

LIGHT = {"encoder": {"channels": 4, "state": 4, "layers": 1, "heads": 2, "context": 8}, "training": {"segment": 64}}


def test_ways_are_compared_with_windows(fxgpt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(way: str, preset: str, seconds: float, threads: int, bars: int) -> dict[str, float]:
        assert (preset, seconds, threads, bars) == ("default", 5.0, 1, 3000)
        speed = {"dense": 900.0, "windows": 6.0}[way]
        return {"targets_per_second": speed / 2, "targets_per_cpu_second": speed, "peak_mb": 10.0, "seconds": 5.0}

    monkeypatch.setattr(verb, "_measured", measured)
    asked = ("bench", "sssd", "--preset", "default", "--seconds", "5", "--bars", "3000", "--threads", "1")
    found = json.loads(fxgpt(*asked, "--json").out)
    assert (found["preset"], found["bars"], found["threads"], found["goal"]) == ("default", 3000, 1, 100.0)
    assert {name: way["times"] for name, way in found["ways"].items()} == {"dense": 150, "windows": 1}
    assert found["ways"]["dense"]["times_wall"] == 150
    assert "150" in fxgpt(*asked).out


def test_a_way_is_measured_in_a_process_of_its_own() -> None:
    found = verb._measured("dense", "small", 0.1, 1, 2500)
    assert found["targets_per_second"] > 0
    assert found["peak_mb"] > 0


def test_a_measurement_that_fails_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(FxgptError, match=r"way 'dense' ended with code 1: no message"):
        verb._measured("dense", "small", 0.1, 1, 2500)


def test_dense_training_is_many_times_as_fast_as_windows() -> None:
    config = SSSDConfig.model_validate({"preset": "small"})
    speed = {way: measure(way, config, 0.5, 2500, 3, 2).targets_per_cpu_second for way in ("dense", "windows")}
    assert speed["dense"] > 5 * speed["windows"]  # about 50 where nothing else runs


def test_an_unknown_preset_is_refused_with_the_known_ones(fxgpt: Callable[..., Any]) -> None:
    answer = fxgpt("bench", "sssd", "--preset", "smal")
    assert answer.code == 2
    assert "small" in answer.err


def test_both_ways_give_a_bar_the_same_context() -> None:
    """They train the same thing: where memory is shorter than both, a window says what a dense segment says."""
    config = SSSDConfig.model_validate({"preset": "small", **LIGHT})
    torch.manual_seed(0)
    history = History.random(2500, 3, 2)
    network = Network(dict.fromkeys(WINDOWS, 3), 2, config).eval()
    for stack in network.encoder.stacks.values():
        for name, weight in stack.named_parameters():
            if name.endswith("log_dt"):
                torch.nn.init.constant_(weight, 2.0)  # forgets within a few bars of 4h
    with torch.no_grad():
        (context, bars), (alone, at) = next(dense(network, history)), next(windows(network, history))
    shared = [(int(i), int((bars == bar).nonzero()[0])) for i, bar in enumerate(at) if (bars == bar).any()]
    assert shared
    for mine, theirs in shared:
        torch.testing.assert_close(alone[mine], context[theirs], atol=1e-4, rtol=0)


@pytest.mark.parametrize("way", [dense, windows])
def test_targets_begin_where_every_window_is_full(way: Callable[..., Any]) -> None:
    history = History.random(2500, 3, 2)
    network = Network(dict.fromkeys(WINDOWS, 3), 2, SSSDConfig.model_validate({"preset": "small", **LIGHT})).eval()
    with torch.no_grad():
        _, bars = next(way(network, history))
    known = history.inputs.last_known[bars].amin(dim=0)
    assert all(int(last) + 1 >= count for last, count in zip(known, WINDOWS.values(), strict=True))
