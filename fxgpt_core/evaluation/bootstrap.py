"""Block bootstrap of dependent series: circular (Politis & Romano 1992) and stationary (Politis & Romano 1994).

A resample is a list of blocks, so sums over it come from cumulated sums, without copying rows: a thousand resamples of
a pair-year take a fraction of a second. Confidence intervals are studentised with the equal-weighted cosine variance of
each resample, which keeps their size under persistence also where blocks are short (Gonçalves & Vogelsang 2011).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import TERMS, cosine_terms, cosines
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.result import Resampled
from fxgpt_core.evaluation.significance import diebold_mariano, negligible

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Scheme = Literal["stationary", "circular"]

REPEATS = 1000
MOST_BLOCKS = 500
_AT_ONCE = 2_000_000
"""Blocks times columns held in memory at a time."""


@dataclass(frozen=True)
class Blocks:
    """Resamples of `rows` consecutive rows, wrapped around the end.

    `starts`, `lengths`: (repeats, blocks); the lengths of a resample sum to `rows`, blocks of length 0 fill up.
    """

    rows: int
    starts: Ints
    lengths: Ints

    @property
    def repeats(self) -> int:
        """How many resamples there are."""
        return len(self.starts)

    def indices(self) -> Ints:
        """Return the row drawn at each place of each resample, (repeats, rows); for statistics that are no means."""
        out = np.empty((self.repeats, self.rows), dtype=np.int64)
        for repeat in range(self.repeats):
            length = self.lengths[repeat]
            begin = np.repeat(self.starts[repeat], length)
            within = np.arange(self.rows) - np.repeat(np.cumsum(length) - length, length)
            out[repeat] = (begin + within) % self.rows
        return out

    def means(self, series: Floats) -> Floats:
        """Return the mean of (rows, columns) `series` over each resample, (repeats, columns)."""
        centre = series.mean(axis=0)
        total = _cumulated(series - centre)
        parts = [self._sums(total, part).sum(axis=1) for part in self._parts(series.shape[1])]
        return np.asarray(centre + np.concatenate(parts) / self.rows)

    def cosine_coefficients(self, series: Floats, terms: int) -> Floats:
        """Return the cosine coefficients of each resample of (rows, columns) `series`: (repeats, terms, columns).

        A cosine counts as constant, at its mean, within a block. The mean of the squares over the terms, times
        2 / rows, estimates the long-run variance as `long_run_variance` does on the series itself.
        """
        total = _cumulated(series - series.mean(axis=0))
        waves = np.concatenate([np.zeros((terms, 1)), np.cumsum(cosines(self.rows, terms), axis=1)], axis=1).T
        parts = []
        for part in self._parts(max(series.shape[1], terms)):
            length = self.lengths[part]
            end = np.cumsum(length, axis=1)
            mean_wave = (waves[end] - waves[end - length]) / np.maximum(length, 1)[..., None]  # (part, blocks, terms)
            parts.append(np.einsum("rbt,rbc->rtc", mean_wave, self._sums(total, part), optimize=True))
        return np.concatenate(parts)

    def _sums(self, total: Floats, part: slice) -> Floats:
        begin = self.starts[part]
        return np.asarray(total[begin + self.lengths[part]] - total[begin])  # (part, blocks, columns)

    def _parts(self, columns: int) -> Iterator[slice]:
        step = max(1, _AT_ONCE // (self.starts.shape[1] * max(columns, 1)))
        for begin in range(0, self.repeats, step):
            yield slice(begin, min(begin + step, self.repeats))


def _cumulated(series: Floats) -> Floats:
    """Return sums before each row of the series written twice, (2 rows + 1, columns), so that blocks may wrap."""
    twice = np.concatenate([np.zeros((1, series.shape[1])), series, series])
    return np.asarray(np.cumsum(twice, axis=0))


def draw_blocks(rows: int, length: float, seed: int, repeats: int = REPEATS, scheme: Scheme = "stationary") -> Blocks:
    """Return `repeats` resamples in blocks of `length` rows, on average (stationary) or each (circular).

    Raises BadInputError where `length` is below 1 or above `rows`, or nothing is to be drawn.
    """
    if not 1 <= length <= rows or repeats < 1:
        raise BadInputError(
            f"A block bootstrap of {rows} rows cannot draw {repeats} resamples in blocks of {length:g} rows: blocks "
            "hold 1 row to all, and there is at least one resample."
        )
    rng = np.random.default_rng(seed)
    if scheme == "circular":
        count = int(np.ceil(rows / round(length)))
        ends = np.tile(np.arange(1, count + 1) * round(length), (repeats, 1))
    else:
        count = int(rows / length + 6 * np.sqrt(rows / length) + 10)
        ends = np.cumsum(rng.geometric(1 / length, size=(repeats, count)), axis=1)
        while (ends[:, -1] < rows).any():
            more = np.cumsum(rng.geometric(1 / length, size=(repeats, count)), axis=1)
            ends = np.concatenate([ends, ends[:, -1:] + more], axis=1)
    lengths = np.diff(np.minimum(ends, rows), axis=1, prepend=0)
    lengths = lengths[:, : int((lengths > 0).sum(axis=1).max())]
    return Blocks(rows, rng.integers(0, rows, size=lengths.shape), lengths)


def block_length(series: Floats, overlap: int = 1, scheme: Scheme = "stationary") -> float:
    """Return the block length for the mean of (rows,) `series`: Politis & White (2004), never below `overlap`.

    With the correction of Patton, Politis & White (2009); at most a quarter of the rows. Never above `MOST_BLOCKS`
    blocks either: with that many, longer blocks than needed do no harm and save time.
    """
    rows = len(series)
    length = 1.0 if series.std() == 0 else politis_white(series)[scheme == "circular"]
    return float(np.clip(max(length, overlap, rows / MOST_BLOCKS), 1, max(rows / 4, 1)))


def politis_white(series: Floats) -> tuple[float, float]:
    """Return the optimal expected block length of the stationary and of the circular bootstrap of a (rows,) mean."""
    rows = len(series)
    centred = series - series.mean()
    run = max(5, int(np.log10(rows)))  # so many insignificant correlations in a row end the memory
    most = min(int(np.ceil(np.sqrt(rows))) + run, rows - 2)
    covariance = np.array([centred[lag:] @ centred[: rows - lag] for lag in range(most + 1)]) / rows
    square = np.concatenate([[0.0], np.cumsum(centred**2)])
    lags = np.arange(most + 1) + 1
    scale = np.sqrt((square[-1] - square[lags]) * square[rows - lags])
    small = np.abs(covariance * rows) < 2 * np.sqrt(np.log10(rows) / rows) * scale
    quiet = np.flatnonzero(np.convolve(small[:-1], np.ones(run), "valid") == run)
    memory = min(2 * max(int(quiet[0]), 1), most) if len(quiet) else most
    lag = np.arange(1, memory + 1)
    window = np.where(lag / memory <= 0.5, 1.0, 2 * (1 - lag / memory))
    slope = 2 * (window * lag * covariance[1 : memory + 1]).sum()
    level = covariance[0] + 2 * (window * covariance[1 : memory + 1]).sum()
    longest = float(np.ceil(min(3 * np.sqrt(rows), rows / 3)))
    lengths = [(2 * slope**2 / (divisor * level**2)) ** (1 / 3) * rows ** (1 / 3) for divisor in (2, 4 / 3)]
    return min(lengths[0], longest), min(lengths[1], longest)


@dataclass(frozen=True)
class BootstrapMean:
    """Mean of a dependent series with bounds from resampling, and the two-sided p-value of its being zero."""

    mean: float
    low: float
    high: float
    p_value: float
    length: float


def bootstrap_mean(
    series: Floats,
    seed: int,
    overlap: int = 1,
    confidence: float = 0.95,
    repeats: int = REPEATS,
    scheme: Scheme = "stationary",
    terms: int = TERMS,
) -> BootstrapMean:
    """Return the mean of a (rows,) series with a symmetric studentised block-bootstrap interval.

    On the difference of two losses this is the paired bootstrap test of one model against the other. Raises
    BadInputError below 8 rows.
    """
    rows = len(series)
    if rows < 8:
        raise BadInputError(f"A block bootstrap of {rows} rows says nothing; at least 8 are needed.")
    used = cosine_terms(rows, overlap, terms)
    length = block_length(series, overlap, scheme)
    blocks = draw_blocks(rows, length, seed, repeats, scheme)
    column = series[:, None]
    centre = float(series.mean())
    drawn = np.abs(blocks.means(column)[:, 0] - centre)
    errors = np.sqrt((blocks.cosine_coefficients(column, used)[..., 0] ** 2).mean(axis=1) * 2) / rows
    ratios = np.divide(drawn, errors, out=np.zeros(repeats), where=errors > 0)
    error = float(np.sqrt(((cosines(rows, used) @ (series - centre)) ** 2).mean() * 2)) / rows
    reach = float(np.quantile(ratios, confidence, method="higher")) * error
    if error == 0:
        return BootstrapMean(centre, centre, centre, 1.0 if centre == 0 else 1 / (repeats + 1), length)
    above = int((ratios >= abs(centre) / error).sum())
    return BootstrapMean(centre, centre - reach, centre + reach, (1 + above) / (1 + repeats), length)


def paired_bootstrap(
    loss: Floats,
    reference: Floats,
    seed: int,
    overlap: int = 1,
    confidence: float = 0.95,
    repeats: int = REPEATS,
    terms: int = TERMS,
) -> Resampled:
    """Return bounds and one-sided p-value of the skill of `loss` over `reference`, both (rows,), as `compare` does.

    Rows are redrawn in pairs, so that what both models find hard stays common to both. Raises BadInputError below 8
    rows.
    """
    found = bootstrap_mean(reference - loss, seed, overlap, confidence, repeats, terms=terms)
    scale = float(reference.mean())
    if negligible(diebold_mariano(loss, reference, overlap, terms), scale):
        return Resampled(0.0, 0.0, 1.0)
    one_sided = found.p_value / 2 if found.mean > 0 else 1 - found.p_value / 2
    return Resampled(found.low / scale, found.high / scale, one_sided)
