"""What is kept of forecasts in the lake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fxgpt_core.evaluation.archive import read_draws, read_part, write_part
from fxgpt_core.market.lake import Lake
from tests.evaluation.walks import forecast


def test_of_samples_their_number_is_kept(tmp_path: Path) -> None:
    lake, plain = Lake(tmp_path), forecast("plain").take(slice(0, 300))
    for part, draws in (("fold=0", 100), ("fold=1", 80)):
        sampled = replace(plain, family="sampled", samples=np.zeros((300, draws, 2), dtype=np.float32))
        write_part(lake, "walk_forward", "EURUSD", "sampled", part, sampled)
    write_part(lake, "walk_forward", "EURUSD", "plain", "fold=0", plain)
    assert read_draws(lake, "walk_forward", "EURUSD", "sampled") == 80
    assert read_draws(lake, "walk_forward", "EURUSD", "plain") is None
    assert read_draws(lake, "walk_forward", "EURUSD", "nobody") is None
    back = read_part(lake, "walk_forward", "EURUSD", "plain", "fold=0")
    np.testing.assert_array_equal(back.quantiles, plain.quantiles)
    assert read_part(lake, "walk_forward", "EURUSD", "sampled", "fold=1").samples is None
