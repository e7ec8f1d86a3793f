"""LDM4TS by the same assets as every family: folds, calibration, candidate, backtest, and a served forecast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from fxgpt_core.lifecycle.groundwork_versions import GroundworkVersions
from fxgpt_core.models.ldm4ts import vae_files
from fxgpt_pipeline.serving import predict, resolve
from fxgpt_pipeline.stages import backtest, candidate, groundwork, walk_forward
from tests.pipeline.small_home import FAMILIES, SYMBOL, SmallHome, shared_home

pytestmark = pytest.mark.deep
TINY = {
    "preset": "small",
    "window": 48,
    "latents": {"vae": {"width": 8, "blocks": 0, "epochs": 1, "rows": 64, "validation_rows": 16}},
    "conditions": {"bands": 4},
    "unet": {"width": 8, "tokens": 8},
    "diffusion": {"sampling_steps": 4, "samples": 50, "bank": 64},
    "fusion": {"features": 8},
    "training": {"epochs": 2, "stride": 20, "validation_rows": 60, "shape_rows": 20},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallHome]:
    """A home of its own with a trained LDM4TS as its newest candidate."""
    base = shared_home(tmp_path_factory)
    with pytest.MonkeyPatch.context() as monkeypatch:
        home = base.clone(tmp_path_factory.mktemp("ldm4ts")).enter(monkeypatch)
        home.configure(f"assets/{SYMBOL}.yaml", {"models": {**{name: {} for name in FAMILIES}, "ldm4ts": TINY}})
        outcome = home.materialise(key for key, stage in home.lineage().stages.items() if stage.family == "ldm4ts")
        assert outcome.success, outcome.error
        yield home


def metadata(home: SmallHome, key: tuple[str, ...]) -> dict[str, Any]:
    with home.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(key))
    return dict(event.asset_materialization.metadata)


def test_its_assets_are_those_of_every_family(trained: SmallHome) -> None:
    folds = metadata(trained, walk_forward("ldm4ts"))
    assert folds["epochs"].value == 2 * folds["folds"].value
    assert all(fit["weights"] > 500 for fit in folds["fits"].value.values())
    shown = metadata(trained, candidate("ldm4ts"))
    assert "data:image/png;base64," in shown["loss_curve"].value
    assert shown["parameters"].value["vision"]["size"] == 32
    assert metadata(trained, backtest("ldm4ts"))


def test_a_registered_version_forecasts_by_itself(trained: SmallHome) -> None:
    made = predict("gbp/usd", model="ldm4ts", seed=4)
    assert made.horizons == (60, 240)
    assert made.decided_at[0] == trained.lineage().candles().known_at[-1]
    assert made.model_version[0] == resolve(trained.lineage(), "ldm4ts").label
    assert made.samples is None or made.samples.shape[1] == 50
    np.testing.assert_array_equal(predict(SYMBOL, model="ldm4ts", seed=4).quantiles, made.quantiles)
    some = predict(SYMBOL, horizons=["4h"], model="ldm4ts", seed=4)
    np.testing.assert_array_equal(some.quantiles[:, 0], made.quantiles[:, 1])


def test_a_candidate_carries_the_autoencoder_that_was_registered_before_it(trained: SmallHome, tmp_path: Path) -> None:
    lineage = trained.lineage()
    versions = GroundworkVersions(lineage.workspace.registry, SYMBOL, "ldm4ts", "autoencoder")
    registered = versions.find(lineage.fingerprint(groundwork("ldm4ts", "autoencoder")))
    assert registered is not None
    versions.fetch(registered, tmp_path / "autoencoder")
    bundle = lineage.workspace.registry.folder(resolve(lineage, "ldm4ts"))
    carried = vae_files.read(bundle / "forecaster" / "autoencoder")
    assert carried.identity == vae_files.read(tmp_path / "autoencoder" / "fitted").identity
