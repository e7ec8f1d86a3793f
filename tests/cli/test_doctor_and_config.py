"""`fxgpt doctor` and `fxgpt check config`: every problem named, nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.paths import CHECKOUT


def test_shipped_configuration_is_valid(fxgpt: Callable[..., Any]) -> None:
    answer = fxgpt("check", "config", "--json")
    assert answer.code == 0, answer.out
    assert answer.json()["assets"] == ["EURUSD"]
    assert answer.json()["problems"] == []


def test_every_wrong_file_is_named(fxgpt: Callable[..., Any], home: Path) -> None:
    configs = home.parent / "configs"
    (configs / "ridge" / "default.yaml").write_text("alhpa: 1\n")
    (configs / "assets" / "GBPUSD.yaml").write_text(
        "symbol: GBPUSD\ntimeframes: [1h]\nhorizons: [1h]\nmodels: {rigde: }\n"
    )
    (configs / "assets" / "USDJPY.yaml").write_text("symbol: USDJPY\ntimeframes: [1h\n")
    (configs / "instruments.yaml").write_text("instrument: {}\n")
    (configs / "rigde").mkdir()
    (configs / "rigde" / "default.yaml").write_text("alpha: 1\n")
    answer = fxgpt("check", "config", "--json")
    assert answer.code == 2
    problems = "\n".join(answer.json()["problems"])
    for part in (
        "unknown key 'alhpa'",
        "unknown key 'instrument'",
        "did you mean 'ridge'?",
        "USDJPY.yaml, line",
        "rigde/default.yaml is read by nothing",
    ):
        assert part in problems


def test_preset_of_an_asset_is_resolved(fxgpt: Callable[..., Any], home: Path) -> None:
    path = home.parent / "configs" / "assets" / "EURUSD.yaml"
    path.write_text(path.read_text() + "models: {ridge: {preset: huge}}\n")
    answer = fxgpt("check", "config")
    assert answer.code == 2
    assert "there is no preset 'huge'" in answer.err


def test_doctor_finds_this_machine_ready_and_changes_nothing(fxgpt: Callable[..., Any], home: Path) -> None:
    answer = fxgpt("doctor", "--json")
    findings = {finding["name"]: finding for finding in answer.json()["findings"]}
    assert answer.code == 0, [finding for finding in findings.values() if finding["status"] == "missing"]
    assert findings["database"]["status"] == "note"
    assert "fxgpt demo" in findings["database"]["remedy"]
    assert not home.exists()
    upgrade(f"sqlite:///{home / 'fxgpt.db'}")
    text = fxgpt("doctor").out
    newest = max(path.name for path in (CHECKOUT / "migrations" / "versions").glob("*.py")).split("_")[0]
    assert f"at revision {newest}" in text
    plan = answer.json()["plan"]
    assert plan["hardware"]["cores"] == plan["threads"]
    assert plan["device"] in "".join(line for line in text.splitlines() if "training" in line)
    assert "float32" in text or "capability" in text
    assert text.endswith("Ready.\n")


def test_doctor_says_what_is_missing(fxgpt: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata as metadata

    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.1" if name == "duckdb" else real(name))
    monkeypatch.setenv("FXGPT_DATABASE_URL", "postgresql://someone:secret@127.0.0.1:1/fxgpt")
    answer = fxgpt("doctor", "--json")
    assert answer.code == 1
    found = {finding["name"]: finding for finding in answer.json()["findings"]}
    assert found["packages"]["status"] == "missing"
    assert "duckdb is 0.0.1, wanted" in found["packages"]["found"]
    assert found["database"]["status"] == "missing"
    assert "secret" not in answer.out
