"""Feature configuration: what is on where, and hashes that change with meaning."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features import registry
from fxgpt_core.features.spec import FeatureSpec, YardstickConfig

H1, M5 = TIMEFRAMES["1h"], TIMEFRAMES["5m"]


def names(spec: FeatureSpec, code: str) -> set[str]:
    return {indicator.name for indicator, _ in spec.chosen(TIMEFRAMES[code])}


def test_the_indicator_map_overrides_groups_per_timeframe() -> None:
    spec = FeatureSpec(groups=("volume_profile",), indicators={"rsi": ("5m", "1h"), "volume_profile": ("1h",)})
    assert names(spec, "5m") == {"rsi"}
    assert names(spec, "1h") == {"rsi", "volume_profile"}
    assert names(spec, "4h") == set()


def test_a_timeframe_that_the_layout_lacks_is_told() -> None:
    spec = FeatureSpec(indicators={"rsi": ("5m", "30m"), "adx": "all", "cci": ()})
    assert not spec.idle((M5, TIMEFRAMES["30m"], H1))
    (sentence,) = spec.idle((M5, H1))
    assert "rsi is set to 30m" in sentence
    assert "5m, 1h" in sentence


def test_hashes_follow_the_meaning_and_nothing_else() -> None:
    plain = FeatureSpec()
    assert FeatureSpec(parameters={"rsi": {"period": 14}}).definition_hash(H1) == plain.definition_hash(H1)
    assert FeatureSpec(parameters={"rsi": {"period": 21}}).definition_hash(H1) != plain.definition_hash(H1)
    only_h1 = FeatureSpec(indicators={"rsi": ("1h",)})
    assert only_h1.definition_hash(H1) == plain.definition_hash(H1)
    assert only_h1.definition_hash(M5) != plain.definition_hash(M5)
    other = FeatureSpec(yardstick=YardstickConfig(first_days=30))
    assert other.definition_hash(H1) == plain.definition_hash(H1)
    assert other.target_hash(H1, (60,)) != plain.target_hash(H1, (60,))


def test_the_shipped_file_says_what_the_code_does() -> None:
    path = Path(__file__).parents[2] / "configs" / "features" / "default.yaml"
    shipped = FeatureSpec.model_validate(yaml.safe_load(path.read_text()))
    assert shipped.dataset_hash((M5, H1), (5,)) == FeatureSpec().dataset_hash((M5, H1), (5,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"groups": ["volatilty"]}, r"volatilty'; did you mean 'volatility'\?"),
        ({"groups": "ohlc"}, r"a list, such as \[ohlc\]"),
        ({"indicators": {"rsy": ["1h"]}}, r"indicators: .* 'rsy'; did you mean 'rsi'\?"),
        ({"indicators": {"rsi": ["7m"]}}, "7m"),
        ({"indicators": {"rsi": "1h"}}, r"rsi is '1h': it must be a list of timeframes, such as \[1h\], or all"),
        ({"indicators": ["rsi"]}, "must map indicators to timeframes"),
        ({"parameters": {"rsii": {"period": 3}}}, r"parameters: .* did you mean 'rsi'\?"),
        ({"parameters": {"bollinger": {"period": 1}}}, "from 2 to 2000"),
        ({"parameters": {"atr": {"period": 2000}}}, "needs 2000 bars, warm_up gives a month 512"),
        ({"parameters": {"rsi": {"perid": 3}}}, "perid"),
        ({"warm_up": -1}, "warm_up"),
        ({"yardstick": {"fast_weights": [1.5]}}, "fast_weights"),
    ],
)
def test_mistakes_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureSpec.model_validate(values)


def test_a_changed_declaration_changes_the_hash_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    before = registry.declarations_hash()
    known = dict(registry.indicators())
    known["rsi"] = replace(known["rsi"], version=known["rsi"].version + 1)
    monkeypatch.setattr(registry, "_INDICATORS", known)
    assert registry.declarations_hash() != before
