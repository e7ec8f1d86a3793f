import numpy as np

from fxgpt_core.training.segments import SegmentStream


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
