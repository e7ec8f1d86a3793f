"""An asset's candles: derived month by month, again without work, and wrong questions answered with what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_helpers import as_csv, bars, content

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.bars import checksum
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.history import load_candles, update_candles
from fxgpt_core.market.instruments import instrument, rough_rate
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.sample import sample_candles
from fxgpt_core.market.resampling import resample
from fxgpt_core.market.source_bars import source_fingerprint

QUALITY = QualityConfig()
SAMPLE_FRAMES = [timeframe(code) for code in ("1h", "4h", "1d")]


def _import(lake: Lake, folder: Path, candles: Candles) -> None:
    path = folder / f"{candles.symbol}_mid.csv"
    path.write_text(as_csv(candles))
    import_file(lake, path, tz="UTC", timeframe=candles.timeframe)


def _months(lake: Lake, code: str) -> dict[str, str]:
    manifest = lake.read_manifest("candles", {"symbol": "EURUSD", "timeframe": code})
    assert manifest is not None
    return {part: entry.checksum for part, entry in manifest.parts.items()}


def test_the_sample_becomes_candles_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    expected = source_fingerprint(lake, "EURUSD", "1h", "sample")
    summary = update_candles(lake, "EURUSD", SAMPLE_FRAMES, "sample", QUALITY)
    assert summary.fingerprint == expected == source_fingerprint(lake, "EURUSD", "1h", "sample")
    assert summary.rows == {"1h": 4998, "4h": 1249, "1d": 208}
    assert summary.quality.quarantined == {"outside_market_hours": 2}
    assert (summary.failures, summary.side, summary.base) == ((), "mid", "1h")
    assert lake.query("SELECT count(*) AS n FROM quarantine").to_pylist() == [{"n": 2}]
    assert checksum(load_candles(lake, "EURUSD", "4h")) == checksum(resample(sample_candles(), "4h"))
    before = content(tmp_path)
    again = update_candles(lake, "EURUSD", SAMPLE_FRAMES, "sample", QUALITY)
    assert content(tmp_path) == before
    assert again.months_written == {"4h": 0, "1d": 0}
    assert again.to_dict()["quality"] == summary.to_dict()["quality"]


@settings(max_examples=6, deadline=None)
@given(cut=st.integers(30, 1470), code=st.sampled_from(["2h", "4h", "1d", "1w"]))
def test_growing_history_gives_the_same_bars_as_deriving_them_at_once(
    cut: int, code: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, everything = tmp_path_factory.mktemp("grow"), bars(1500)
    lake, frames = Lake(folder / "lake"), [timeframe("1h"), timeframe(code)]
    for rows in (everything.take(slice(0, cut)), everything.take(slice(cut, None))):
        _import(lake, folder, rows)
        update_candles(lake, "EURUSD", frames, "import", QUALITY)
    base = load_candles(lake, "EURUSD", "1h")
    expected = resample(base, code)
    assert len(base) == 1500
    assert checksum(load_candles(lake, "EURUSD", code)) == checksum(expected)


def test_a_history_shorter_than_one_slow_bar_has_none_yet_and_gets_it_later(tmp_path: Path) -> None:
    lake, candles, frames = Lake(tmp_path / "lake"), bars(200), [timeframe("1h"), timeframe("1w")]
    _import(lake, tmp_path, candles.take(slice(0, 30)))
    assert update_candles(lake, "EURUSD", frames, "import", QUALITY).rows == {"1h": 30, "1w": 0}
    with pytest.raises(DataError, match="1w has no rows"):
        load_candles(lake, "EURUSD", "1w")
    _import(lake, tmp_path, candles)
    assert update_candles(lake, "EURUSD", frames, "import", QUALITY).rows == {"1h": 200, "1w": 1}


def test_only_months_whose_base_bars_changed_are_written_again(tmp_path: Path) -> None:
    lake, candles = Lake(tmp_path / "lake"), bars(24 * 5 * 26)
    frames = [timeframe("1h"), timeframe("4h")]
    _import(lake, tmp_path, candles)
    first = update_candles(lake, "EURUSD", frames, "import", QUALITY)
    before = _months(lake, "4h")
    row = int(np.searchsorted(candles.ts_utc, np.datetime64("2024-04-16T10:00")))
    changed = candles.take(slice(row, row + 1))
    changed.high[:] += 0.05
    _import(lake, tmp_path, changed)
    second = update_candles(lake, "EURUSD", frames, "import", QUALITY)
    after = _months(lake, "4h")
    assert [part for part in before if before[part] != after[part]] == ["month=2024-04"]
    assert second.months_written == {"4h": 2}  # April, and May whose first bars may begin in April
    assert first.fingerprint != second.fingerprint
    assert checksum(load_candles(lake, "EURUSD", "4h")) == checksum(resample(load_candles(lake, "EURUSD", "1h"), "4h"))


def test_a_month_lies_where_its_bars_become_known(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    _import(lake, tmp_path, bars(24, start=np.datetime64("2024-01-31T20:00")))
    assert sorted(_months(lake, "1h")) == ["month=2024-01", "month=2024-02"]
    january = lake.read("candles", {"symbol": "EURUSD", "timeframe": "1h"}, ["month=2024-01"])
    assert january["ts_utc"].to_pylist()[-1].hour == 22  # the bar from 23:00 is known on 1 February


def test_faster_bars_feed_a_slower_base_and_move_given_slow_bars_aside(tmp_path: Path) -> None:
    lake, fast = Lake(tmp_path / "lake"), bars(6000, "15m")
    _import(lake, tmp_path, resample(fast, "1h"))
    _import(lake, tmp_path, fast)
    update_candles(lake, "EURUSD", [timeframe("15m"), timeframe("1h")], "import", QUALITY)
    derived = load_candles(lake, "EURUSD", "1h")
    assert checksum(derived) == checksum(resample(load_candles(lake, "EURUSD", "15m"), "1h"))
    assert lake.parts("candles_superseded", {"symbol": "EURUSD", "timeframe": "1h"})
    summary = update_candles(lake, "EURUSD", [timeframe("1h"), timeframe("4h")], "import", QUALITY)
    assert (summary.base, summary.quality.timeframe) == ("1h", "1h")
    with pytest.raises(BadInputError, match="derives EURUSD 1h from 15m bars"):
        _import(lake, tmp_path, resample(fast, "1h"))


def test_absent_and_too_slow_bars_say_which_file_to_import(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with pytest.raises(DataError, match="needs 5m bars and the lake has no bars of it: import a file of 5m or faster"):
        update_candles(lake, "EURUSD", [timeframe("5m")], "import", QUALITY)
    with pytest.raises(DataError, match="has no 1h candles"):
        load_candles(lake, "EURUSD", "1h")
    _import(lake, tmp_path, bars(300))
    with pytest.raises(DataError, match="needs 5m bars and the lake has only 1h bars of it"):
        source_fingerprint(lake, "EURUSD", "5m", "import")


def test_the_sample_is_neither_another_pair_nor_mixed_with_imported_bars(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with pytest.raises(BadInputError, match="holds EURUSD 1h bars, not GBPUSD 1h"):
        update_candles(lake, "GBPUSD", SAMPLE_FRAMES, "sample", QUALITY)
    _import(lake, tmp_path, bars(300))
    with pytest.raises(DataError, match="are not the sample"):
        update_candles(lake, "EURUSD", SAMPLE_FRAMES, "sample", QUALITY)


def test_new_bars_of_the_same_side_continue_the_sample(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    update_candles(lake, "EURUSD", SAMPLE_FRAMES, "sample", QUALITY)
    _import(lake, tmp_path, bars(200, start=np.datetime64("2018-02-07T16:00")))
    summary = update_candles(lake, "EURUSD", SAMPLE_FRAMES, "sample", QUALITY)
    assert summary.rows["1h"] == 5198
    assert summary.last == f"{load_candles(lake, 'EURUSD', '1h').known_at[-1].astype('datetime64[s]')}Z"


def test_quarantined_shares_count_what_was_left_out_at_import(tmp_path: Path) -> None:
    lake, path = Lake(tmp_path / "lake"), tmp_path / "EURUSD_mid.csv"
    lines = as_csv(bars(300)).splitlines()
    lines[11:31] = [line.replace(",1.", ",x.") for line in lines[11:31]]
    path.write_text("\n".join(lines))
    result = import_file(lake, path, tz="UTC")
    summary = update_candles(lake, "EURUSD", [timeframe("1h")], "import", QUALITY)
    assert result.quarantined == summary.quality.quarantined == {"non_numeric": 20}
    assert any("6.7% of 300 rows are quarantined" in sentence for sentence in summary.failures)


def test_bars_imported_on_a_wrong_clock_fail_the_check(tmp_path: Path) -> None:
    lake, path = Lake(tmp_path / "lake"), tmp_path / "EURUSD_mid.csv"
    path.write_text(as_csv(bars(1000), 2))
    assert "time zone" in import_file(lake, path, tz="UTC").warnings[-1]
    summary = update_candles(lake, "EURUSD", [timeframe("1h")], "import", QUALITY)
    assert "the time zone of the stamps is probably wrong" in summary.failures[-1]


def test_instruments_know_pips_digits_and_triple_swap_days() -> None:
    euro, yen, canada = instrument("eur/usd"), instrument("USDJPY"), instrument("USDCAD")
    assert (euro.symbol, euro.pip, euro.digits, euro.triple_swap_day) == ("EURUSD", 0.0001, 5, 2)
    assert (yen.pip, yen.digits, yen.point) == (0.01, 3, pytest.approx(0.001))
    assert canada.triple_swap_day == 3
    with pytest.raises(BadInputError):
        instrument("EURUSS")


def test_bars_of_another_side_than_configured_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="set price_side to mid"):
        update_candles(Lake(tmp_path), "EURUSD", [timeframe("1h")], "sample", QualityConfig(), side="bid")


def test_holes_in_faster_bars_do_not_vanish_in_the_base(tmp_path: Path) -> None:
    lake, fast = Lake(tmp_path / "lake"), bars(6000, "1m", start=np.datetime64("2024-01-09T00:00"))
    kept = np.random.default_rng(1).random(6000) < 0.4
    _import(lake, tmp_path, fast.take(kept))
    summary = update_candles(lake, "EURUSD", [timeframe("5m"), timeframe("1h")], "import", QUALITY)
    assert summary.quality.timeframe == "5m"
    assert summary.quality.missing / summary.quality.expected < 0.2
    assert any(
        sentence.startswith("Of the 1m bars given: ") and "are missing (6" in sentence for sentence in summary.failures
    )
    again = update_candles(lake, "EURUSD", [timeframe("5m"), timeframe("1h")], "import", QUALITY)
    assert again.failures == summary.failures


def test_rows_set_aside_count_among_the_bars_that_they_came_with(tmp_path: Path) -> None:
    lake, path = Lake(tmp_path / "lake"), tmp_path / "EURUSD_mid.csv"
    lines = as_csv(bars(6000, "1m", start=np.datetime64("2024-01-09T00:00"))).splitlines()
    lines[101:200] = [line.replace(",1.", ",x.") for line in lines[101:200]]
    path.write_text("\n".join(lines))
    import_file(lake, path, tz="UTC")
    summary = update_candles(lake, "EURUSD", [timeframe("1h")], "import", QUALITY)
    assert summary.quality.quarantined == {}
    assert summary.failures == ()  # 99 of 6000 minutes, though more than two in a hundred hours


def test_faster_bars_that_cover_given_base_bars_and_go_on_later_feed_the_base(tmp_path: Path) -> None:
    lake, fast, frames = Lake(tmp_path / "lake"), bars(6000, "15m"), [timeframe("1h"), timeframe("4h")]
    _import(lake, tmp_path, resample(fast, "1h").take(slice(0, 1000)))
    update_candles(lake, "EURUSD", frames, "import", QUALITY)
    before = source_fingerprint(lake, "EURUSD", "1h", "import")
    _import(lake, tmp_path, fast.take(slice(400, 6000)))
    assert source_fingerprint(lake, "EURUSD", "1h", "import") != before
    short = update_candles(lake, "EURUSD", frames, "import", QUALITY)
    assert short.rows["1h"] == 1000
    assert short.failures[0].startswith("The 1h bars given end 2024-02-")
    assert "import 1h bars up to there or 15m bars from 2024-01-02 00:00 on" in short.failures[0]
    _import(lake, tmp_path, fast)
    whole = update_candles(lake, "EURUSD", frames, "import", QUALITY)
    assert (whole.rows["1h"], whole.failures) == (1500, ())
    assert checksum(load_candles(lake, "EURUSD", "1h")) == checksum(resample(load_candles(lake, "EURUSD", "15m"), "1h"))


def test_crossed_bars_of_the_manifest_fail_their_month(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    _import(lake, tmp_path, bars(300))
    keys = {"symbol": "EURUSD", "timeframe": "1h"}
    manifest = lake.read_manifest("candles", keys)
    assert manifest is not None
    lake.write_manifest("candles", keys, replace(manifest, extra={**manifest.extra, "crossed": {"month=2024-01": 120}}))
    failures = update_candles(lake, "EURUSD", [timeframe("1h")], "import", QUALITY).failures
    assert failures == ("2024-01: 120 of 300 bars have their ask below the bid (40.0%, limit 15.0%).",)


def test_a_rough_rate_is_good_for_the_size_of_an_account_and_for_nothing_else() -> None:
    assert rough_rate("USD", "JPY") == 200
    assert rough_rate("JPY", "USD") == pytest.approx(0.006)
    assert rough_rate("EUR", "EUR") == rough_rate("USD", "TRY") == 1
