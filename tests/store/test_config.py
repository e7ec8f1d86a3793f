"""Configuration errors are one sentence that a person can act on; layers merge in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fxgpt_core.common.errors import BadInputError, ConfigError
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_core.store.asset_files import asset_for, check_families, load_asset, load_assets, readable_assets
from fxgpt_core.store.config import family_values, feature_values, load_yaml, merge, validate
from fxgpt_core.store.paths import CHECKOUT

GOOD: dict[str, Any] = {"symbol": "eur/usd", "timeframes": ["1d", "1h", "4h"], "horizons": ["1d", 60, "4h"]}

ALARM: dict[str, Any] = {"alarm": "EURUSD-ridge-1h-skill", "up_to": 0.1, "reason": "a simulated market"}


def asset(**changes: Any) -> AssetConfig:
    return validate(AssetConfig, {**GOOD, **changes}, "asset.yaml")


def test_asset_is_normalised_and_sorted() -> None:
    made = asset()
    assert made.symbol == "EURUSD"
    assert made.timeframes == ("1h", "4h", "1d")
    assert made.base.code == "1h"
    assert made.horizon_minutes == (60, 240, 1440)
    assert made.families == (
        "climatology", "ewma", "seasonal_ewma", "filtered_historical", "garch", "har", "ridge", "lightgbm", "sssd"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"timeframe": ["1h"]}, ["unknown key 'timeframe'", "did you mean 'timeframes'?"]),
        ({"timeframes": ["7m"]}, ["timeframes", "'7m'", "use one of 1m, 5m"]),
        ({"timeframes": ["1h", "60m"]}, ["timeframes", "60m"]),
        ({"timeframes": "1h"}, ["timeframes", "is not a list"]),
        ({"timeframes": []}, ["timeframes", "at least 1"]),
        ({"horizons": [30]}, ["horizon 30m", "base timeframe 1h"]),
        ({"horizons": ["1h", 60]}, ["1h appears twice"]),
        ({"costs": {"spread_pips": 0}}, ["costs.spread_pips is 0", "> 0 and <= 1000"]),
        ({"costs": {"spread_pips": float("inf")}}, ["costs.spread_pips is inf"]),
        ({"costs": {"spred_pips": 1}}, ["unknown key 'costs.spred_pips'", "'spread_pips'"]),
        ({"source": "smaple"}, ["source 'smaple'", "'import' or 'sample'", "did you mean 'sample'"]),
        ({"symbol": "EURUSX"}, ["symbol", "USX", "did you mean USD"]),
        ({"retraining_cron": "0 25 * * *"}, ["retraining_cron", "25 lies outside 0..23"]),
        ({"retraining_cron": "daily"}, ["retraining_cron", "five fields"]),
        ({"overrides": {"gat": {}}}, ["overrides", "unknown section 'gat'", "'gate'"]),
        ({"acknowledged_alarms": [ALARM | {"reason": "ok"}]}, ["acknowledged_alarms", "reason", "at least 10"]),
        ({"acknowledged_alarms": [{"alarm": ALARM["alarm"], "up_to": 0.1}]}, ["reason", "is missing"]),
        ({"acknowledged_alarms": [ALARM | {"alarm": "GBPUSD-ridge-1h-skill"}]}, ["another pair than EURUSD"]),
        ({"acknowledged_alarms": [ALARM | {"alarm": "EURUSD-ridge-1h"}]}, ["acknowledged_alarms", "alarm"]),
        ({"acknowledged_alarms": [ALARM | {"reason": " " * 12}]}, ["acknowledged_alarms", "reason", "at least 10"]),
        ({"acknowledged_alarms": [ALARM | {"alarm": "EURUSD-ridge-60m-skill"}]}, ["60m", "printed as 1h"]),
        ({"acknowledged_alarms": [ALARM | {"alarm": "EURUSD-ridge-90x-skill"}]}, ["Unknown horizon '90x'"]),
        ({"acknowledged_alarms": [ALARM, ALARM]}, ["EURUSD-ridge-1h-skill appears twice"]),
        ({"priority": 1000, "enabled": "maybe"}, ["priority is 1000", "enabled is 'maybe'"]),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        asset(**changes)
    message = str(caught.value)
    assert message.startswith("asset.yaml: ")
    assert "\n" not in message
    assert message[-1] in ".?"
    for part in parts:
        assert part in message


def test_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"asset.yaml: key 'horizons' is missing\."):
        validate(AssetConfig, {"symbol": "EURUSD", "timeframes": ["1h"]}, "asset.yaml")


def test_hash_follows_meaning_and_ignores_when_work_runs() -> None:
    assert asset().config_hash == asset(symbol="EURUSD", horizons=["1h", 240, 1440], priority=3).config_hash
    assert asset().config_hash != asset(costs={"spread_pips": 2}).config_hash


def test_unknown_family_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"'rigde'.*did you mean 'ridge'"):
        check_families(asset(models={"rigde": None}), ["ewma", "ridge"], "asset.yaml")
    wrong = asset(models={"ridge": None}, acknowledged_alarms=[ALARM | {"alarm": "EURUSD-rigde-1h-skill"}])
    with pytest.raises(ConfigError, match=r"'rigde' under acknowledged_alarms.*'ridge'"):
        check_families(wrong, ["ewma", "ridge"], "asset.yaml")


def test_merge_is_deep_and_does_not_touch_its_inputs() -> None:
    low, high = {"a": {"x": 1, "y": [1, 2]}, "b": 1}, {"a": {"y": [3]}, "c": {"z": 1}}
    merged = merge(low, high)
    assert merged == {"a": {"x": 1, "y": [3]}, "b": 1, "c": {"z": 1}}
    merged["a"]["y"].append(4)
    merged["c"]["z"] = 2
    assert low == {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert high == {"a": {"y": [3]}, "c": {"z": 1}}


def test_layers_family_file_then_asset_then_override(tmp_path: Path) -> None:
    (tmp_path / "sssd").mkdir()
    (tmp_path / "sssd" / "default.yaml").write_text("layers: 4\n")
    (tmp_path / "sssd" / "small.yaml").write_text("layers: 2\nstate: 16\noptimiser: {lr: 0.1, decay: 0.2}\n")
    one = asset(models={"sssd": {"preset": "small", "state": 32}, "ridge": None})
    assert family_values("sssd", one, tmp_path) == {"layers": 2, "state": 32, "optimiser": {"lr": 0.1, "decay": 0.2}}
    assert family_values("sssd", one, tmp_path, {"optimiser": {"lr": 1}})["optimiser"] == {"lr": 1, "decay": 0.2}
    assert family_values("sssd", one, tmp_path, {"preset": "default"}) == {"layers": 4, "state": 32}
    assert family_values("ridge", one, tmp_path) == {}
    with pytest.raises(ConfigError, match=r"no preset 'smal'; did you mean 'small'"):
        family_values("sssd", one, tmp_path, {"preset": "smal"})
    with pytest.raises(ConfigError, match="is not a name"):
        family_values("sssd", one, tmp_path, {"preset": "../secret"})


def test_feature_values(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "lean.yaml").write_text("rsi: [1h]\n")
    assert feature_values("lean", tmp_path) == {"rsi": ["1h"]}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\nb: [1,\n", "line 3"),
        ("a: 1\na: 2\n", "line 2: not valid YAML: key 'a' appears twice"),
        ("- 1\n", "expected keys with values, found a list"),
        ("1: 2\n", "key 1 is not text"),
        ("a: !!python/object/apply:os.getcwd []\n", "line 1"),
    ],
)
def test_broken_yaml_names_file_and_line(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    assert str(path) in str(caught.value)
    assert part in str(caught.value)


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match=r"binary.yaml cannot be read"):
        load_yaml(tmp_path / "binary.yaml")
    with pytest.raises(ConfigError, match="does not exist"):
        load_yaml(tmp_path / "absent.yaml")


def test_assets_are_sorted_and_named_after_their_symbol(tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    folder.mkdir()
    body = "timeframes: [1h]\nhorizons: [1h]\n"
    for symbol in ("USDJPY", "EURUSD"):
        (folder / f"{symbol}.yaml").write_text(f"symbol: {symbol}\n{body}")
    assert list(load_assets(tmp_path)) == ["EURUSD", "USDJPY"]
    assert asset_for("usd/jpy", tmp_path).symbol == "USDJPY"
    with pytest.raises(BadInputError, match="fxgpt assets add GBPUSD"):
        asset_for("GBPUSD", tmp_path)
    (folder / "EURUSD.yaml").write_text(f"symbol: GBPUSD\n{body}")
    with pytest.raises(ConfigError, match=r"must be named GBPUSD.yaml"):
        load_assets(tmp_path)


def test_shipped_asset_files_are_valid() -> None:
    assets = load_assets(CHECKOUT / "configs")
    assert assets["EURUSD"].source == "sample"
    assert assets["EURUSD"].costs.spread_pips == 0.8


def test_one_wrong_asset_file_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    folder.mkdir()
    (folder / "EURUSD.yaml").write_text("symbol: EURUSD\ntimeframes: [1h]\nhorizons: [1h]\n")
    (folder / "GBPUSD.yaml").write_text("symbol: GBPUSD\ntimeframes: [1h]\nhorizon: [1h]\n")
    assets, problems = readable_assets(tmp_path)
    assert list(assets) == ["EURUSD"]
    assert len(problems) == 1
    assert "GBPUSD.yaml" in problems[0]


def test_a_source_is_a_known_provider_with_a_first_day(tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    folder.mkdir()
    text = "symbol: EURUSD\ntimeframes: [1h]\nhorizons: [1h]\nsource: dukascopi\nsince: 2024-01-01\n"
    (folder / "EURUSD.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"unknown source 'dukascopi'.*dukascopy"):
        load_asset(folder / "EURUSD.yaml", providers=["dukascopy"])
    (folder / "EURUSD.yaml").write_text(text.replace("dukascopi", "dukascopy"))
    assert load_asset(folder / "EURUSD.yaml", providers=["dukascopy"]).remote
    (folder / "EURUSD.yaml").write_text(text.replace("source: dukascopi\n", ""))
    with pytest.raises(ConfigError, match="for bars of a provider"):
        load_asset(folder / "EURUSD.yaml", providers=["dukascopy"])
