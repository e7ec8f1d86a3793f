"""`LiveSession`: SSSD bar by bar, with a state that can be kept over a restart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.hashing import bytes_hash
from fxgpt_core.features.feed import Feed
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.session import chosen, newest
from fxgpt_core.models.sssd import bulk
from fxgpt_core.models.sssd.encoder_state import EncoderState
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.models.sssd.storage import model_hash
from fxgpt_core.models.sssd.streaming import Stepper

if TYPE_CHECKING:
    from fxgpt_core.models.sssd.forecaster import SSSD

_STATE, _FACTS = "state.safetensors", "session.json"


@dataclass(frozen=True)
class _Place:
    """The encoder after some base bar: its row, the bars of each timeframe that have gone in, and the state."""

    row: int
    taken: tuple[int, ...]
    state: EncoderState


class LiveSession:
    """A fitted SSSD that follows one feed.

    History is run once, when the session opens; after that a bar costs one step of its timeframe's stack. The state
    before the newest base bar is kept beside the one after it: a slower bar that closed with the newest base bar may
    come after it, and changes what that bar's features say. One that comes later still is older than what has gone in,
    so history is run again. Forecasts equal those of `SSSD.forecast` but for rounding.
    """

    def __init__(self, model: SSSD, feed: Feed, snapshot: Path | None = None) -> None:
        self.model, self.feed = model, feed
        self.network, self.scaling = model.fitted()
        if feed.horizons != model.horizons:
            raise ModelError(
                f"SSSD was trained for horizons {model.horizons} minutes, the feed of {feed.symbol} has "
                f"{feed.horizons}: open the feed with the model's horizons."
            )
        self.scaling.check(feed.dataset)
        self._stepper = Stepper(self.network.encoder)
        self._before = self._rebuilt(len(feed.dataset) - 2) if snapshot is None else self._restored(snapshot)
        self._after, self._context = self._before, torch.empty(0)
        self._follow()

    def update(self, candles: Candles) -> tuple[str, ...]:
        """See `fxgpt_core.models.session.Session.update`."""
        gaps = self.feed.update(candles)
        self._follow()
        return gaps

    def forecast(self, provenance: Provenance, horizons: Sequence[int] | None = None, seed: int = 0) -> Forecast:
        """See `Session.forecast`. A subset of horizons is asked for by mask: the others do not enter at all."""
        dataset = self.feed.dataset
        row, columns = newest(dataset), chosen(self.model.horizons, horizons)
        mask = None
        if len(columns) < len(self.model.horizons):
            mask = torch.zeros(len(self.model.horizons), device=self._context.device)
            mask[list(columns)] = 1
        moments = dataset.known_at[row : row + 1]
        samples = bulk.draw_rows(self.network, self._context, moments, seed, mask=mask)
        return self.model.stamped(dataset, np.array([row]), self._context, samples, provenance, columns)

    @property
    def context(self) -> Tensor:
        """The context (1, context) of the newest base bar."""
        return self._context

    def save(self, folder: Path) -> None:
        """Write the state before the newest base bar as `state.safetensors`, and what it belongs to as `session.json`.

        The second file is written last and names the first by its hash, so a save that was cut off is noticed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        place, codes = self._before, self._stepper.codes
        partial = folder / f"{_STATE}.partial"
        save_file(place.state.tensors(), partial)
        facts = {
            "family": self.model.family,
            "symbol": self.feed.symbol,
            "model": model_hash(self.network, self.scaling),
            "state": bytes_hash(partial.read_bytes()),
            "row": place.row,
            "bars": {
                code: {"taken": taken, "hash": self.feed.checksum(code, taken)}
                for code, taken in zip(codes, place.taken, strict=True)
            },
        }
        partial.replace(folder / _STATE)
        written = folder / f"{_FACTS}.partial"
        written.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        written.replace(folder / _FACTS)

    def _restored(self, folder: Path) -> _Place:
        """Return the place that `save` wrote; raises ModelError where it does not belong to this model and feed."""
        facts = _read_facts(folder)
        again = "open the session without it, from the start of history"
        if bytes_hash((folder / _STATE).read_bytes()) != facts["state"]:
            raise ModelError(f"{folder / _STATE} is damaged or was cut off while being written: {again}.")
        if (facts["symbol"], facts["model"]) != (self.feed.symbol, model_hash(self.network, self.scaling)):
            raise ModelError(f"The session in {folder} is of another symbol or model ({facts['symbol']}): {again}.")
        taken = tuple(int(facts["bars"][code]["taken"]) for code in self._stepper.codes)
        for code, count in zip(self._stepper.codes, taken, strict=True):
            known = len(self.feed.candles[code])
            if known < count or self.feed.checksum(code, count) != facts["bars"][code]["hash"]:
                raise ModelError(
                    f"The session in {folder} went over {count} {code} bars of {self.feed.symbol} that are not the "
                    f"first of the {known} known now: {again}."
                )
        state = self.network.encoder.initial_state().restored(load_file(folder / _STATE))
        return _Place(int(facts["row"]), taken, state)

    def _follow(self) -> None:
        """Bring the state to the newest base bar."""
        dataset = self.feed.dataset
        last = len(dataset) - 1
        known = dataset.last_known + 1  # (bars, timeframes): bars of each timeframe known at each base bar
        if last > self._after.row and tuple(known[self._after.row]) == self._after.taken:
            self._before = self._after  # no bar came late: what was the newest place is settled
        if self._before.row >= 0 and tuple(known[self._before.row]) != self._before.taken:
            self._before = self._rebuilt(last - 1)
        self._before, _ = self._stepped(self._before, last - 1)
        self._after, self._context = self._stepped(self._before, last)

    def _stepped(self, place: _Place, row: int) -> tuple[_Place, Tensor]:
        """Return the place after base bar `row` and the context there, stepping on from `place`."""
        dataset, since = self.feed.dataset, place.row + 1
        if since > row:
            return place, self._context
        known = dataset.last_known[since : row + 1]
        features = {}
        for i, code in enumerate(dataset.tables):
            values = self.scaling.values(dataset, code, place.taken[i], int(known[-1, i]) + 1)
            fresh = self.scaling.rows(code, values)
            features[code] = torch.from_numpy(fresh).to(self.model.device)
        index = torch.from_numpy(known - np.asarray(place.taken))
        contexts, state = self._stepper.follow(Inputs(features, index), place.state, 0, len(known))
        return _Place(row, tuple(int(count) for count in known[-1] + 1), state), contexts[-1:]

    def _rebuilt(self, row: int) -> _Place:
        """Return the place after base bar `row` by a dense pass over all history, -1 before the first."""
        dataset, encoder = self.feed.dataset, self.network.encoder
        if row < 0:
            return _Place(-1, (0,) * len(dataset.tables), encoder.initial_state())
        inputs = Inputs.build(dataset, self.scaling, self.model.device)
        state = encoder.state_after(inputs, row, self.model.config.bars_per_pass)
        return _Place(row, tuple(int(count) for count in dataset.last_known[row] + 1), state)


def _read_facts(folder: Path) -> dict[str, Any]:
    for name in (_FACTS, _STATE):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} holds no session: {name} is missing.")
    try:
        facts: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / _FACTS} is damaged ({error}): open the session without it.") from error
    return facts
