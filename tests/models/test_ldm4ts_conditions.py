from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ldm4ts_data import STEP, moving, tiny

from fxgpt_core.common.errors import ModelError
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.indicators.economic_calendar import WEEK
from fxgpt_core.models.ldm4ts.config import ConditionsConfig
from fxgpt_core.models.ldm4ts.frequency import frequency_tokens, token_width
from fxgpt_core.models.ldm4ts.future import draw_paths, future_paths
from fxgpt_core.models.ldm4ts.text import Wording
from fxgpt_core.models.ldm4ts.text_encoder import TextEncoder

ROWS = np.arange(100, 600)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return moving(700, seed=3)


def test_a_future_path_passes_through_the_targets(data: Dataset) -> None:
    paths = future_paths(data, ROWS, 32)  # from one hour to four
    np.testing.assert_allclose(paths[:, 0], data.targets[ROWS, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(paths[:, -1], data.targets[ROWS, 1], rtol=1e-5, atol=1e-5)


def test_a_random_walk_is_equally_wide_all_along_its_path() -> None:
    still = moving(4000, seed=1, strength=0.0)
    deviation = future_paths(still, np.arange(100, 3900), 32).std(axis=0)
    assert deviation[[0, -1]] == pytest.approx(1.0, abs=0.06)
    assert 0.8 < deviation.min() < deviation.max() < 1.1  # between bars a straight line is narrower


def test_a_path_ends_with_its_label_and_needs_it(data: Dataset) -> None:
    paths = future_paths(data, np.array([400, 690, 698]), 32)
    assert np.isfinite(paths[:2]).all()
    assert np.isnan(paths[2]).all()
    later = data.candles.close.copy()
    later[405:] *= 1.5
    bars = replace(data.candles, high=np.maximum(data.candles.high, later), close=later)
    np.testing.assert_array_equal(future_paths(replace(data, candles=bars), np.array([400]), 32), paths[:1])


def test_a_path_after_which_no_bar_closes_ends_with_the_one_before_as_its_label_does(data: Dataset) -> None:
    ends = data.label_end.copy()
    ends[400, 1] = data.known_at[404] - np.timedelta64(30, "m")
    closes, path = np.log(data.candles.close), future_paths(replace(data, label_end=ends), np.array([400]), 32)[0]
    assert path[-1] == pytest.approx((closes[403] - closes[400]) / data.yardstick[400, 1], rel=1e-5)


def test_a_picture_of_the_future_keeps_its_size(data: Dataset) -> None:
    vision = tiny().vision
    calm = torch.from_numpy(future_paths(data, ROWS[:8], vision.size))
    drawn, wild = draw_paths(calm, vision), draw_paths(3 * calm, vision)
    assert drawn.shape == (8, 3, vision.size, vision.size)
    assert float((drawn - wild).abs().mean()) > 0.1
    assert torch.equal(draw_paths(calm[2:3], vision)[0], drawn[2])


def test_the_spectrum_of_a_wave_stands_out_in_its_band() -> None:
    time = torch.arange(101, dtype=torch.float64)
    slow, fast = (torch.sin(2 * torch.pi * time / period) for period in (50.0, 2.5))
    tokens = frequency_tokens(torch.stack([slow, fast])[:, :, None], 8)
    assert tokens.shape == (2, 8, token_width(101, 1, 8))
    assert int(tokens[0, :7].mean(dim=1).argmax()) == 0
    assert int(tokens[1, :7].mean(dim=1).argmax()) == 5  # 40 of 50 frequencies; the last band is filled up
    still = frequency_tokens(torch.ones(1, 101, 2, dtype=torch.float64), 8)
    assert torch.isfinite(still).all()


def test_a_sentence_tells_what_was_known(data: Dataset) -> None:
    wording = Wording.fit(data, ROWS, 48)
    close = np.exp(np.linspace(0, 30 * STEP, len(data)))
    rising = replace(data.candles, open=close, high=close, low=close, close=close)
    said = wording.sentences(replace(data, candles=rising), np.array([200]))[0]
    assert said.startswith("EUR/USD, 1h bars, in the session of ")
    assert said.endswith("the price goes sideways.")
    steep = np.exp(np.linspace(0, 700 * STEP, len(data)))
    up = replace(data.candles, open=steep, high=steep, low=steep, close=steep)
    assert wording.sentences(replace(data, candles=up), np.array([200]))[0].endswith("rises steeply.")
    whole, head = wording.sentences(data, ROWS), wording.sentences(data.head(301), np.array([300]))
    assert whole[200] == head[0]
    assert len(set(whole)) < 100


def test_a_sentence_tells_of_news_that_are_due_where_there_is_a_calendar(data: Dataset) -> None:
    table = data.tables["1h"]
    minutes = np.array([[30.0, 300.0], [5000.0, 300.0], [5000.0, 5000.0]])
    values = np.tile(np.log1p(minutes) / np.log1p(WEEK), (len(table.values), 1))[: len(table.values)]
    wide = np.column_stack([table.values, values]).astype(np.float32)
    names = (*table.names, "cal_base_high_next_1h", "cal_quote_high_next_1h")
    told = replace(data, tables={**data.tables, "1h": replace(table, names=names, values=wide)})
    said = Wording.fit(told, ROWS, 48).sentences(told, np.array([300, 301, 302]))
    assert "important news due within the hour" in said[0]
    assert "important news due within eight hours" in said[1]
    assert "no important news due within a day" in said[2]


def test_embeddings_of_equal_meaning_lie_near_each_other_and_are_kept(tmp_path: Path) -> None:
    config = ConditionsConfig(cache=str(tmp_path))
    encoder = TextEncoder(config)
    calm, quiet, wild = encoder.embed(["volatility is low", "volatility is very low", "the price rises steeply"])
    assert calm.shape == (384,)
    assert np.linalg.norm(calm) == pytest.approx(1.0, abs=1e-3)
    assert calm @ quiet > calm @ wild + 0.1
    assert len(list(tmp_path.rglob("*.npy"))) == 3
    again = TextEncoder(config)
    again._loaded = lambda: pytest.fail("read again")  # type: ignore[method-assign]
    np.testing.assert_array_equal(again.embed(["volatility is low"])[0], calm)
    known = TextEncoder(ConditionsConfig(encoder=str(tmp_path / "gone")), {"volatility is low": calm})
    np.testing.assert_array_equal(known.embed(["volatility is low"])[0], calm)
    with pytest.raises(ModelError, match=r"gone cannot be read .* conditions\.encoder"):
        known.embed(["something else"])


def test_another_encoder_than_that_of_the_training_embeds_nothing_new(tmp_path: Path) -> None:
    config = ConditionsConfig(cache=str(tmp_path))
    made = TextEncoder(config).embed(["volatility is low"])[0]
    loaded = TextEncoder(config, {"volatility is low": made}, expected="another")
    np.testing.assert_array_equal(loaded.embed(["volatility is low"])[0], made)
    assert loaded.identity == "another"
    with pytest.raises(ModelError, match="not the one that the model was trained with"):
        loaded.embed(["volatility is high"])


def test_an_embedding_cut_off_while_being_written_is_made_again(tmp_path: Path) -> None:
    config = ConditionsConfig(cache=str(tmp_path))
    made = TextEncoder(config).embed(["volatility is low"])[0]
    (kept,) = tmp_path.rglob("*.npy")
    for content in (b"", kept.read_bytes()[:90]):
        kept.write_bytes(content)
        np.testing.assert_array_equal(TextEncoder(config).embed(["volatility is low"])[0], made)


def test_ranks_are_those_of_the_training_bars_whatever_came_later(data: Dataset) -> None:
    wilder = data.yardstick.copy()
    wilder[ROWS[-1] + 1 :] *= 10
    assert Wording.fit(replace(data, yardstick=wilder), ROWS, 48) == Wording.fit(data, ROWS, 48)
