"""Labels: trading time over weekends, missing bars, and what is not known yet."""

import numpy as np

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.targets import make_labels
from fxgpt_core.market.candles import Candles


def candles(opens: list[str], closes: list[float]) -> Candles:
    stamps, prices = np.array(opens, dtype="datetime64[ns]"), np.array(closes)
    empty = np.full(len(prices), np.nan)
    return Candles("EURUSD", TIMEFRAMES["1h"], "mid", stamps, prices, prices, prices, prices, empty, empty)


# Friday 2024-01-05: the market closes at 22:00 UTC (17:00 New York) and opens on Sunday at 22:00 UTC.
FRIDAY = [f"2024-01-05T{h:02}:00" for h in (18, 19, 20, 21)]
SUNDAY = [f"2024-01-07T{h:02}:00" for h in (22, 23)]
WEEKEND = candles(FRIDAY + SUNDAY, [1.0, 1.1, 1.2, 1.3, 1.5, 1.6])


def test_a_label_that_ends_with_the_week_does_not_hold_the_weekend_gap() -> None:
    labels = make_labels(WEEKEND, (60,))
    assert labels.label_end[2, 0] == np.datetime64("2024-01-05T22:00")
    np.testing.assert_allclose(labels.log_return[2, 0], np.log(1.3 / 1.2))


def test_a_label_that_crosses_the_weekend_counts_trading_time_and_holds_the_gap() -> None:
    labels = make_labels(WEEKEND, (60, 120))
    assert labels.label_end[3, 0] == np.datetime64("2024-01-07T23:00")
    np.testing.assert_allclose(labels.log_return[3, 0], np.log(1.5 / 1.3))
    assert labels.label_end[3, 1] == np.datetime64("2024-01-08T00:00")
    np.testing.assert_allclose(labels.log_return[3, 1], np.log(1.6 / 1.3))


def test_labels_after_the_last_known_bar_are_masked() -> None:
    labels = make_labels(WEEKEND, (60, 240))
    assert labels.mask[:, 0].tolist() == [True] * 5 + [False]
    assert labels.mask[:, 1].tolist() == [True] * 2 + [False] * 4
    assert np.isnan(labels.log_return[~labels.mask]).all()


def test_a_label_over_missing_bars_uses_the_last_price_if_it_is_at_most_one_bar_old() -> None:
    hours = [0, 1, 2, 4, 7, 8]  # 03:00, 05:00 and 06:00 did not trade
    labels = make_labels(candles([f"2024-01-09T{h:02}:00" for h in hours], [1, 2, 3, 4, 5, 6]), (60, 120))
    # 01:00 + 2 h ends at 04:00, the last bar known then closed at 03:00: one bar old.
    np.testing.assert_allclose(labels.log_return[1, 1], np.log(3 / 2))
    # 05:00 + 2 h ends at 07:00; no bar came after the decision.
    assert not labels.mask[3].any()
    # 03:00 + 1 h ends at 04:00 with the very bar of the decision as the last one: nothing was observed.
    assert not labels.mask[2, 0]


def test_no_bars_give_no_labels() -> None:
    assert make_labels(WEEKEND.take(slice(0, 0)), (60,)).mask.shape == (0, 1)
