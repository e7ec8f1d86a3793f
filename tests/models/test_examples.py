import numpy as np
from sssd_data import planted

from fxgpt_core.models.examples import example_rows, show_examples
from fxgpt_core.training.plan import TrainingPlan


def test_examples_are_test_windows_spread_over_time_and_cost_nothing_unwatched() -> None:
    data = planted(1200, seed=3)
    rows = example_rows(data, data.split.test)
    assert len(rows) == 10
    assert data.split.test[rows].all()
    assert rows[-1] - rows[0] > 0.9 * data.split.test.sum()
    assert len(example_rows(data, np.zeros(1200, dtype=bool))) == 0

    class Never:
        def forecast(self, *_: object) -> None:
            raise AssertionError

    show_examples(Never(), data, data.split, TrainingPlan(seed=1))
