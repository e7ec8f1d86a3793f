"""Readings of GPUs: averaged between two looks, absent where there is none."""

import os
import stat
import time
from pathlib import Path

import pytest
import torch

from fxgpt_core.training.gauge import NAMES, Gauge, read_gpus
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.settings import attention_kernels, torch_settings


def test_readings_are_averaged_over_cards_and_time_and_taken_once() -> None:
    rows = iter([[(90.0, 1000.0, 300.0), (70.0, 3000.0, 100.0)], [(100.0, 2000.0, 200.0)] * 2])
    with Gauge(lambda: next(rows, []), every=0.01) as gauge:
        time.sleep(0.2)
        assert gauge.take() == dict(zip(NAMES, (90.0, 2000.0, 200.0), strict=True))
        assert gauge.take() == {}


def test_without_a_card_nothing_is_read_again() -> None:
    looks: list[int] = []

    def none() -> list[tuple[float, float, float]]:
        looks.append(1)
        return []

    with Gauge(none, every=0.01) as gauge:
        time.sleep(0.1)
        assert gauge.take() == {}
    assert looks == [1]


def test_nvidia_smi_is_read_and_an_answer_without_numbers_is_no_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpus() == []
    tool = tmp_path / "nvidia-smi"
    for answer, expected in (("97, 4096, 310.5", [(97.0, 4096.0, 310.5)]), ("97, 4096, [N/A]", [])):
        tool.write_text(f"#!/bin/sh\necho '{answer}'\n")
        tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
        assert read_gpus() == expected


def test_settings_of_a_card_are_asked_for_and_put_back() -> None:
    plan = TrainingPlan(seed=0, device="cuda", cudnn_benchmark=True)
    before = os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    with torch_settings(plan):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG")
    if before is not None:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = before
    with attention_kernels(("flash", "math")):
        assert not torch.backends.cuda.mem_efficient_sdp_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()
