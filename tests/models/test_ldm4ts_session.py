from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ldm4ts_data import tiny

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.ldm4ts.forecaster import LDM4TS
from fxgpt_core.training.plan import TrainingPlan

MADE = Provenance("v1", np.datetime64("2030-01-01", "ns"), "live")
SPEC = FeatureSpec(groups=(), indicators={"har": ("1h",)})


@pytest.fixture(autouse=True, scope="module")
def _few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_bar_by_bar_it_says_what_it_says_in_bulk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXGPT_HOME", str(tmp_path / "home"))
    bars = simulate("EURUSD", "1h", start=np.datetime64("2024-01-01"), bars=1500, seed=3)
    layout = [TIMEFRAMES[code] for code in ("1h", "4h")]
    data = build_dataset(bars, layout, (60, 240), SPEC)
    split = list(walk_forward(data, WalkForwardConfig(folds=2)))[-1]
    model = LDM4TS(tiny(conditions={"text": True, "cache": str(tmp_path / "texts")}))
    model.fit(data.with_split(split), TrainingPlan(seed=1))
    rows = np.arange(len(data) - 3, len(data))
    bulk = model.forecast(data, rows, MADE, seed=4)
    feed = Feed(bars.take(slice(0, len(data) - 3)), layout, (60, 240), SPEC)
    session = model.open(feed)
    for i in range(3):
        session.update(bars.take(slice(len(data) - 3 + i, len(data) - 2 + i)))
        live = session.forecast(MADE, seed=4)
        np.testing.assert_allclose(live.quantiles[0], bulk.quantiles[i], rtol=1e-4)
        np.testing.assert_allclose(live.samples[0], bulk.samples[i], rtol=1e-3, atol=1e-8)
    some = session.forecast(MADE, horizons=[240], seed=4)
    np.testing.assert_array_equal(some.quantiles[:, 0], live.quantiles[:, 1])
