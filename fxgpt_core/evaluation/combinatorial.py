"""Combinatorial purged cross-validation (López de Prado, Advances in Financial Machine Learning, 2018, ch. 12).

History is cut into N groups; each of the C(N, k) choices of k groups is tested once by a model of all the others. Every
group is thereby tested by C(N − 1, k − 1) models, which can be joined into as many complete out-of-sample paths.
Training lies after testing too, so these splits judge how far a result depends on its path; they never say what would
have been earned live. That is what walk-forward is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.purging import Block, days, require_labels, with_validation
from fxgpt_core.evaluation.split_config import CombinatorialConfig
from fxgpt_core.features.dataset import Dataset, Split


@dataclass(frozen=True)
class CombinatorialSplits:
    """All splits and what joins them into paths.

    `group`: (bars,) int64, group of every usable bar, −1 elsewhere. `tested`: the groups that each split tests.
    """

    splits: tuple[Split, ...]
    tested: tuple[tuple[int, ...], ...]
    group: NDArray[np.int64]

    @property
    def paths(self) -> NDArray[np.int64]:
        """Which split tests each group on each path: (paths, groups); every (split, group) tested appears once."""
        groups = int(self.group.max()) + 1
        columns = [[i for i, tested in enumerate(self.tested) if group in tested] for group in range(groups)]
        return np.array(columns, dtype=np.int64).T

    def path(self, number: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Return a path in time order: for each group the split that tests it, and the base bars of the group."""
        return [(int(split), np.flatnonzero(self.group == group)) for group, split in enumerate(self.paths[number])]

    def timeline(self, known_at: NDArray[np.datetime64], title: str = "") -> str:
        """Return a drawing of all splits over the decision times `known_at` (bars,): HTML with one SVG inside."""
        from fxgpt_core.features.split_timeline import draw_splits

        return draw_splits(self.splits, known_at, title or "Combinatorial purged cross-validation")


def combinatorial(dataset: Dataset, config: CombinatorialConfig) -> CombinatorialSplits:
    """Return the splits of every choice of `tested` among `groups` groups of equally many usable bars.

    A label trains only if its life ends `purge_days` before every test block begins, or begins `embargo_days` after
    the last label of the block has ended; neighbouring test groups are one block. The last share of the rows that
    remain validates, purged from the others. After each block `Split.restarts` names where training begins anew.

    Raises DataError when there are fewer usable bars than groups, or a split trains on fewer than `min_train_rows`
    labels of some horizon.
    """
    bars = np.flatnonzero(dataset.usable)  # (usable,)
    if len(bars) < config.groups:
        raise DataError(f"{dataset.symbol}: {len(bars)} usable bars make no {config.groups} groups; import more bars.")
    edges = np.linspace(0, len(bars), config.groups + 1).round().astype(int)
    group = np.full(len(dataset), -1, dtype=np.int64)
    for index, (begin, end) in enumerate(pairwise(edges)):
        group[bars[begin:end]] = index
    tested = tuple(combinations(range(config.groups), config.tested))
    splits = tuple(_split(dataset, config, group, choice) for choice in tested)
    return CombinatorialSplits(splits, tested, group)


def _split(dataset: Dataset, config: CombinatorialConfig, group: NDArray[np.int64], choice: tuple[int, ...]) -> Split:
    """Build the split that tests the groups of `choice`."""
    test = np.isin(group, choice)
    blocks = _blocks(dataset, group, choice)
    labels = dataset.mask & dataset.usable[:, None] & ~test[:, None]
    purged, embargoed = np.zeros_like(labels), np.zeros_like(test)
    for block in blocks:
        purged |= labels & block.purges(dataset, days(config.purge_days))
        embargoed |= labels.any(axis=1) & block.embargoes(dataset, days(config.embargo_days))
    uses = with_validation(dataset, config, labels & ~purged & ~embargoed[:, None])
    used = uses.train | uses.validation
    split = Split(
        "test" + "+".join(str(index) for index in choice),
        uses.train,
        uses.validation,
        test,
        dataset.label_end[used].max() if used.any() else dataset.known_at[0],
        purged=uses.purged | purged.any(axis=1),
        embargoed=embargoed,
        restarts=_restarts(used.any(axis=1), blocks),
    )
    require_labels(dataset, config, split)
    return split


def _blocks(dataset: Dataset, group: NDArray[np.int64], choice: tuple[int, ...]) -> list[Block]:
    """Return the unbroken test spans; groups that follow each other are one."""
    runs: list[list[int]] = []
    for index in choice:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    rows = [np.flatnonzero(np.isin(group, run)) for run in runs]
    return [Block.of(dataset, int(found[0]), int(found[-1]) + 1) for found in rows]


def _restarts(used: NDArray[np.bool_], blocks: list[Block]) -> tuple[int, ...]:
    """Return the first base bar that is learned from after each test block, where there is one before the next."""
    bars = np.flatnonzero(used)
    limits = [block.begin for block in blocks[1:]] + [len(used)]
    found = []
    for block, limit in zip(blocks, limits, strict=True):
        after = bars[(bars >= block.end) & (bars < limit)]
        found += [int(after[0])] if len(after) else []
    return tuple(found)
