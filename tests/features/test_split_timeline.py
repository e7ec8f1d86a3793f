"""Splits draw themselves: every bar's role, once, at its date."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.combinatorial import combinatorial
from fxgpt_core.evaluation.split_config import CombinatorialConfig, WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.split_timeline import ROLES, draw_splits, spans
from tests.evaluation.split_data import make_dataset

DATASET = make_dataset()
SPLITS = combinatorial(DATASET, CombinatorialConfig())


def test_spans_say_every_bar_that_has_a_role_once() -> None:
    for split in (*SPLITS.splits, *walk_forward(DATASET, WalkForwardConfig())):
        assert split.purged is not None
        assert split.embargoed is not None
        found = spans(split)
        covered = np.concatenate([np.arange(span.begin, span.end) for span in found])
        assert (np.diff(covered) > 0).all()
        uses = (split.train | split.validation).any(axis=1) | split.test | split.purged | split.embargoed
        np.testing.assert_array_equal(covered, np.flatnonzero(uses))
        tested = [np.arange(span.begin, span.end) for span in found if span.role == "test"]
        np.testing.assert_array_equal(np.concatenate(tested), np.flatnonzero(split.test))


def test_drawing_is_one_well_formed_fragment_without_anything_from_elsewhere() -> None:
    html = SPLITS.timeline(DATASET.known_at, "EURUSD <5m> & more")
    root = ElementTree.fromstring(html)
    assert root.tag == "figure"
    assert "".join(root.find("figcaption").itertext()).startswith("EURUSD <5m> & more")  # type: ignore[union-attr]
    for word in ("<script", "http", "url(", "<style"):
        assert word not in html
    legend = "".join(root.find("figcaption").itertext())  # type: ignore[union-attr]
    assert all(role in legend for role in ROLES)


def test_drawing_shows_each_split_by_name_with_its_spans_in_order_of_dates() -> None:
    (figure,) = [ElementTree.fromstring(SPLITS.timeline(DATASET.known_at))]
    texts = [text.text for text in figure.iter("text")]
    assert [split.name for split in SPLITS.splits] == [text for text in texts if text and text.startswith("test")]
    assert "2020-02" in texts
    assert "2020-04" in texts
    assert len(list(figure.iter("rect"))) == sum(len(spans(split)) for split in SPLITS.splits)
    split = SPLITS.splits[0]
    titles = [title.text for title in ElementTree.fromstring(split.timeline(DATASET.known_at)).iter("title")]
    test = DATASET.known_at[split.test]
    first, last = (str(moment.astype("datetime64[m]")).replace("T", " ") for moment in test[[0, -1]])
    assert f"test: {first} to {last} UTC, {len(test):,} bars" in titles
    assert sum("restarts" in str(title) for title in titles) == len(split.restarts) == 1


def test_a_span_lies_where_its_dates_are() -> None:
    split = walk_forward(DATASET, WalkForwardConfig())[1]
    figure = ElementTree.fromstring(split.timeline(DATASET.known_at))
    (test,) = [r for r in figure.iter("rect") if (r.find("title").text or "").startswith("test")]  # type: ignore[union-attr]
    line = next(p for p in figure.iter("path") if " H" in p.attrib["d"])
    left, right = (float(v) for v in re.findall(r"M([\d.]+) .*H([\d.]+)", line.attrib["d"])[0])
    known = DATASET.known_at.astype(np.int64)
    at = known[np.flatnonzero(split.test)[0]]
    share = (at - known[0]) / (known[-1] - known[0])
    assert float(test.attrib["x"]) == pytest.approx(left + share * (right - left), abs=0.1)


@pytest.mark.parametrize(("bars", "ticks"), [(60, 1), (700, 10), (2500, 3)])
def test_dates_are_few_and_round(bars: int, ticks: int) -> None:
    dataset = make_dataset(bars, warm_up=0)
    split = walk_forward(dataset, WalkForwardConfig(min_train_rows=1, validation_share=0, embargo_days=0))[0]
    figure = ElementTree.fromstring(split.timeline(dataset.known_at))
    labels = [t.text for t in figure.iter("text") if t.text and re.fullmatch(r"[\d-]+", t.text)]
    assert ticks <= len(labels) <= 13


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(DataError, match="no split"):
        draw_splits([], DATASET.known_at, "nothing")
    with pytest.raises(DataError, match="2500 bars, the dates are 2499"):
        SPLITS.splits[0].timeline(DATASET.known_at[1:])
