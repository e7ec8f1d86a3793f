"""What LDM4TS sees of a row: pictures, spectrum, sentence and columns, fitted on training rows only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.common.errors import ModelError
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.ldm4ts.conditions import Layout, Told
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.frequency import frequency_tokens, token_width
from fxgpt_core.models.ldm4ts.latent_cache import latents_of
from fxgpt_core.models.ldm4ts.latents import Latents
from fxgpt_core.models.ldm4ts.network import Rows
from fxgpt_core.models.ldm4ts.text import Wording
from fxgpt_core.models.ldm4ts.text_encoder import TextEncoder
from fxgpt_core.models.ldm4ts.windows import VARIABLES, WindowImages
from fxgpt_core.models.tabular.design import design, is_core, of_base_bars
from fxgpt_core.models.tabular.inputs import Inputs

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Perception:
    """Turns base bars into `Rows`: `columns` scales the raw series, `wording` and `texts` speak of the window.

    `known` are the columns of the design before a choice is made, which guard later data.
    """

    config: LDM4TSConfig
    layout: Layout
    columns: Inputs
    known: tuple[str, ...]
    wording: Wording
    texts: TextEncoder

    @classmethod
    def fit(cls, dataset: Dataset, taught: NDArray[np.int64], config: LDM4TSConfig, latents: Latents) -> Perception:
        """Learn scaling and ranks from training bars `taught` (rows,)."""
        values, names = design(dataset, taught)
        chosen = _chosen(names, config)
        kept = tuple(name for name, keep in zip(names, chosen, strict=True) if keep)
        columns = Inputs.fit(values[:, chosen], kept, np.ones(len(taught), dtype=bool), config.scaling)
        wording, texts = Wording.fit(dataset, taught, config.window), TextEncoder(config.conditions)
        width = 1
        if config.conditions.text:
            width = texts.embed(wording.sentences(dataset, taught[:1])).shape[1]
        return cls(config, layout_of(config, latents, width), columns, names, wording, texts)

    @torch.no_grad()
    def rows(
        self,
        dataset: Dataset,
        rows: NDArray[np.int64],
        latents: Latents,
        device: torch.device | str,
        folder: Path | None = None,
        raw: Matrix | None = None,
    ) -> Rows:
        """Return what is seen at base bars `rows`, `rows_per_pass` at a time; a row does not depend on its neighbours.

        Latents of the windows are kept in `folder`, where one is given. `raw`: the `design` of the rows, where it is at
        hand. Raises ModelError for other features than the model was fitted on.
        """
        values = self.design(dataset, rows) if raw is None else raw
        series = torch.from_numpy(self.columns.transform(values)).to(device)
        first = _first(dataset, rows, self.config.window)
        candles = dataset.candles.take(slice(first, int(rows.max(initial=first)) + 1))
        images = WindowImages.of(candles, self.config.window, self.config.vision, device)
        texts = self._texts(dataset, rows)
        pieces: list[Tensor] = []
        bars, size = torch.from_numpy(np.asarray(rows, dtype=np.int64) - first), self.config.rows_per_pass
        pictured = latents_of(latents, images, bars, folder, size)
        for part, seen in zip(torch.split(bars, size), torch.split(pictured, size), strict=True):
            done = sum(len(piece) for piece in pieces)
            spectrum = frequency_tokens(images.windows(part), self.config.conditions.bands)
            given = torch.tensor(self.config.conditions.given, device=device).float().expand(len(part), 3)
            told = Told(seen, spectrum, torch.from_numpy(texts[done : done + len(part)]).to(device), given)
            pieces.append(self.layout.pack(told))
        return Rows(torch.cat(pieces) if pieces else torch.zeros(0, self.layout.width, device=device), series)

    def design(self, dataset: Dataset, rows: NDArray[np.int64]) -> Matrix:
        """Return the chosen columns of the design at base bars `rows`, before scaling."""
        values, names = design(dataset, rows)
        if names != self.known:
            changed = ", ".join(sorted(set(names) ^ set(self.known))[:5]) or "the same ones in another order"
            raise ModelError(
                f"LDM4TS was fitted on other features than the dataset of {dataset.symbol} has ({changed}): build it "
                "with the model's feature configuration or train again."
            )
        return values[:, _chosen(names, self.config)]

    def _texts(self, dataset: Dataset, rows: NDArray[np.int64]) -> Matrix:
        if not self.config.conditions.text or not len(rows):
            return np.zeros((len(rows), self.layout.text_width), dtype=np.float32)
        return self.texts.embed(self.wording.sentences(dataset, rows))

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; embeddings are kept by the caller."""
        return {
            "known": list(self.known),
            "columns": {"names": list(self.columns.names), "scaler": self.columns.scaler.to_dict()},
            "wording": {"length": self.wording.length, "edges": list(self.wording.edges)},
            "text_width": self.layout.text_width,
        }

    @classmethod
    def from_dict(
        cls, values: dict[str, Any], config: LDM4TSConfig, latents: Latents, texts: TextEncoder
    ) -> Perception:
        """Rebuild from `to_dict`."""
        from fxgpt_core.features.scaler import Standardiser

        own = values["columns"]
        return cls(
            config,
            layout_of(config, latents, int(values["text_width"])),
            Inputs(tuple(own["names"]), Standardiser.from_dict(own["scaler"])),
            tuple(values["known"]),
            Wording(int(values["wording"]["length"]), tuple(values["wording"]["edges"])),
            texts,
        )


def layout_of(config: LDM4TSConfig, latents: Latents, text_width: int) -> Layout:
    """Return the shapes of latents and conditions; raises ModelError where pictures do not fit the autoencoder."""
    side, rest = divmod(config.vision.size, latents.factor)
    if rest:
        raise ModelError(
            f"Pictures of {config.vision.size} pixels do not fit an autoencoder that shrinks by {latents.factor}: set "
            "vision.size to a multiple of it."
        )
    bands = config.conditions.bands
    return Layout(latents.channels, side, bands, token_width(config.window, len(VARIABLES), bands), text_width)


def _first(dataset: Dataset, rows: NDArray[np.int64], length: int) -> int:
    """Return the first bar that windows of `length` bars need: the very first where its tick count is not known, since
    there the last known one stands."""
    first = max(int(rows.min(initial=len(dataset) - 1)) - length + 1, 0)
    return first if np.isfinite(dataset.candles.volume[first]) else 0


def _chosen(names: tuple[str, ...], config: LDM4TSConfig) -> NDArray[np.bool_]:
    """Return which columns of the design are read, (names,); all where none is of the kind asked for."""
    wanted = config.fusion.columns
    if wanted == "all":
        return np.ones(len(names), dtype=bool)
    found = of_base_bars(names) if wanted == "own" else np.array([is_core(name) for name in names], dtype=bool)
    return found if found.any() else np.ones(len(names), dtype=bool)
