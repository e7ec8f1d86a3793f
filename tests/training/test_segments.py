import numpy as np
import pytest

from fxgpt_core.common.errors import ModelError
from fxgpt_core.evaluation.combinatorial import combinatorial
from fxgpt_core.evaluation.split_config import CombinatorialConfig
from fxgpt_core.training.segments import SegmentStream
from tests.evaluation.split_data import make_dataset


def test_every_supervised_bar_is_covered_and_every_start_is_valid() -> None:
    supervised = np.zeros(1000, dtype=bool)
    supervised[130:905] = True
    for epoch in range(12):
        stream = SegmentStream(supervised, 128, 3, seed=1, epoch=lambda e=epoch: e)
        batches = list(stream)
        assert len(batches) == stream.batches
        starts = np.concatenate([batch.numpy() for batch in batches])
        assert starts.min() >= 0
        assert starts.max() + 128 <= 1000
        covered = np.zeros(1000, dtype=bool)
        for start in starts:
            covered[start : start + 128] = True
        assert covered[supervised].all()


def test_an_epoch_repeats_itself_and_differs_from_the_next() -> None:
    supervised = np.ones(700, dtype=bool)

    def starts(epoch: int, seed: int = 1) -> list[list[int]]:
        return [batch.tolist() for batch in SegmentStream(supervised, 64, 4, seed, lambda: epoch)]

    assert starts(3) == starts(3)
    assert starts(3) != starts(4)
    assert starts(3) != starts(3, seed=2)


def test_data_shorter_than_a_segment_is_one_segment() -> None:
    stream = SegmentStream(np.ones(50, dtype=bool), 512, 4, 1, lambda: 0)
    assert stream.length == 50
    assert {int(start) for batch in stream for start in batch} == {0}


def test_no_segment_crosses_a_restart_nor_warms_up_before_it() -> None:
    """Every combinatorial split of real label lives: what a segment reads lies on one side of each test span."""
    length, burn_in = 64, 24
    for split in combinatorial(make_dataset(), CombinatorialConfig(min_train_rows=1)).splits:
        supervised = split.train.any(axis=1)
        for epoch in range(4):
            stream = SegmentStream(supervised, length, 4, 1, lambda e=epoch: e, split.restarts, burn_in)
            starts = np.concatenate([batch.numpy() for batch in stream])
            assert len(starts) == stream.segments
            covered = np.zeros(len(supervised), dtype=bool)
            for start in starts:
                covered[start : start + length] = True
                for restart in split.restarts:
                    assert start + length <= restart or start - burn_in >= restart
                if start + length <= max(split.restarts, default=0):
                    assert not split.test[start : start + length].any(), "it runs over a test span"
            warming = np.zeros(len(supervised), dtype=bool)
            for restart in split.restarts:
                warming[restart : restart + burn_in] = True
            assert (covered | warming)[supervised].all()


def test_a_segment_longer_than_the_stretch_between_restarts_is_refused() -> None:
    with pytest.raises(ModelError, match=r"segment of 100 bars does not fit between bar 310.* and bar 400"):
        SegmentStream(np.ones(1000, dtype=bool), 100, 4, 1, restarts=(300, 400), burn_in=10)
