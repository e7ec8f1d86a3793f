"""Hourly candles whose volatility wanders, with the standardised targets that follow from their own prices."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sssd_data import planted

from fxgpt_core.features.dataset import Dataset
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.ldm4ts.conditions import Layout
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.network import Network
from fxgpt_core.models.ldm4ts.vae import SmallVae
from fxgpt_core.models.ldm4ts.vae_config import VaeConfig
from fxgpt_core.models.presets import merge

STEP = 1e-3
TINY: dict[str, Any] = {
    "preset": "small",
    "window": 48,
    "latents": {"vae": {"width": 8, "blocks": 0, "epochs": 1, "rows": 64, "validation_rows": 16}},
    "conditions": {"text": False, "bands": 4},
    "unet": {"width": 8, "tokens": 8},
    "diffusion": {"sampling_steps": 4, "samples": 20, "bank": 64},
    "fusion": {"features": 8},
    "training": {"epochs": 1, "stride": 10, "validation_rows": 60, "shape_rows": 20},
}


def tiny(**over: Any) -> LDM4TSConfig:
    """Return a configuration whose fit takes seconds."""
    return LDM4TSConfig.model_validate(merge(TINY, over))


def moving(bars: int, seed: int, strength: float = 0.5) -> Dataset:
    """Return a split dataset whose hourly returns have a deviation that wanders around the yardstick, which stands
    still: what the last bars did tells of the next ones. Strength 0 makes every return alike."""
    rng = np.random.default_rng(seed)
    swing = np.zeros(bars)
    for i in range(1, bars):
        swing[i] = 0.95 * swing[i - 1] + np.sqrt(1 - 0.95**2) * rng.normal()
    deviation = STEP * np.exp(strength * swing - strength**2)
    path = (deviation[:, None] * rng.normal(size=(bars, 12)) / np.sqrt(12)).cumsum(axis=1)
    close = path[:, -1].cumsum()
    before = np.concatenate([[0.0], close[:-1]])
    inside = before[:, None] + np.column_stack([np.zeros(bars), path])
    base = planted(bars, seed)
    bar = base.candles
    prices = (np.exp(v) for v in (before, inside.max(axis=1), inside.min(axis=1), close))
    spread = np.full(bars, np.nan)
    candles = Candles(bar.symbol, bar.timeframe, bar.side, bar.ts_utc, *prices, rng.uniform(50, 90, bars), spread)
    targets = np.full((bars, 2), np.nan)
    targets[:-1, 0] = np.diff(close) / STEP
    targets[:-4, 1] = (close[4:] - close[:-4]) / (2 * STEP)
    known = np.isfinite(targets)
    split = replace(base.split, train=base.split.train & known, validation=base.split.validation & known)
    yardstick = np.tile([STEP, 2 * STEP], (bars, 1))
    return replace(base, candles=candles, targets=targets, yardstick=yardstick, mask=base.mask & known, split=split)


def untrained(config: LDM4TSConfig, seed: int = 0, columns: int = 5, text: int = 6) -> Network:
    """Return a network of two horizons that has learned nothing, with an autoencoder that has not either."""
    torch.manual_seed(seed)
    vae = SmallVae(VaeConfig.model_validate({"factor": 8, "width": 8, "blocks": 0})).requires_grad_(False).eval()
    side = config.vision.size // vae.factor
    layout = Layout(vae.channels, side, config.conditions.bands, 7, text)
    return Network(layout, columns, 2, config, vae).eval()
