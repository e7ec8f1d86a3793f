"""Pictures of a window: against pyts, against literal pictures, and back to the series."""

import numpy as np
import pytest
import torch
from pyts.image import GramianAngularField, RecurrencePlot

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.models.ldm4ts import gaf, rp, seg
from fxgpt_core.models.ldm4ts.resample import unit, weights
from fxgpt_core.models.ldm4ts.vision import VisionConfig, draw, encode, encode_bytes, from_bytes, resampled, to_bytes


def walks(rows: int, length: int = 100, variables: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, length, variables, generator=torch.Generator().manual_seed(seed)).cumsum(dim=1)


@pytest.mark.parametrize("kind", ["summation", "difference"])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("size", [32, 48, 96])
def test_gramian_fields_are_those_of_pyts(kind, positive, size):
    series = walks(4, 96, 1)
    config = VisionConfig(
        size=size, channels=("gaf",), gaf=kind, gaf_range="positive" if positive else "signed", period=8
    )
    low = 0 if positive else -1
    theirs = GramianAngularField(image_size=size, sample_range=(low, 1), method=kind).transform(series[..., 0].numpy())
    assert encode(series, config)[:, 0].numpy() == pytest.approx(theirs, abs=1e-5)


def test_recurrence_plots_have_the_distances_of_pyts():
    series = walks(4, 64, 1)
    scaled = unit(series)[0]
    theirs = RecurrencePlot().transform(scaled[..., 0].numpy())
    linear = encode(series, VisionConfig(size=64, channels=("rp",), rp_kernel="distance"))[:, 0]
    assert ((1 - linear) / 2).numpy() == pytest.approx(theirs, abs=1e-3)
    graded = encode(series, VisionConfig(size=64, channels=("rp",), rp_scale=0.3))[:, 0]
    assert ((1 + graded) / 2).numpy() == pytest.approx(np.exp(-(theirs**2) / (2 * 0.3**2)), abs=1e-5)


def test_a_moment_recurs_only_where_all_variables_do():
    scaled = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]])
    found = torch.empty(1, 4, 4)
    rp.squares(scaled, found)
    assert found[0].numpy() == pytest.approx(
        np.array([[0, 0.5, 0.5, 0], [0.5, 0, 1, 0.5], [0.5, 1, 0, 0.5], [0, 0.5, 0.5, 0]]), abs=1e-6
    )


def test_a_segmentation_puts_one_period_into_each_column_and_the_newest_bar_last():
    series = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]])[..., None]
    out, square = torch.empty(1, 4, 4), torch.empty(1, 3, 3)
    seg.draw(series, torch.tensor([4]), out)
    # Three columns of four bars; two repeats of the oldest bar come first. A fourth column of pixels interpolates.
    folded = torch.tensor([[1.0, 3, 7], [1, 4, 8], [1, 5, 9], [2, 6, 10]])
    assert out[0, :, [0, 3]].tolist() == folded[:, [0, 2]].tolist()
    seg.draw(series[:, 1:], torch.tensor([3]), square)
    assert square[0].tolist() == [[2, 5, 8], [3, 6, 9], [4, 7, 10]]


def test_variables_of_a_segmentation_lie_in_bands():
    series = torch.stack([torch.arange(4.0), 10 + torch.arange(4.0)], dim=1)[None]
    out = torch.empty(1, 4, 4)
    seg.draw(series, torch.tensor([2]), out)
    assert out[0, :, 0].tolist() == [0, 1, 10, 11]
    assert out[0, :, 3].tolist() == [2, 3, 12, 13]


@pytest.mark.parametrize(("period", "size", "variables"), [(12, 64, 5), (10, 64, 1), (24, 224, 5), (None, 224, 2)])
def test_a_segmentation_gives_the_series_back(period, size, variables):
    windows = walks(6, 100, variables)
    config = VisionConfig(size=size, period=period)
    scaled = unit(windows)[0]
    periods = seg.periods(scaled, config)
    pictures = encode(windows, config)[:, 0]
    for row, bars in enumerate(periods.tolist()):
        back = seg.unfold((pictures[row : row + 1] + 1) / 2, bars, 100, variables)
        assert torch.allclose(back[0], scaled[row], atol=1e-4)


def test_the_diagonal_of_a_summation_field_gives_the_series_back():
    windows = walks(3, 64, 1)
    pictures = encode(windows, VisionConfig(size=64, channels=("gaf",)))[:, 0]
    assert torch.allclose(gaf.diagonal_series(pictures), unit(windows)[0][..., 0], atol=1e-3)


@pytest.mark.parametrize("spectrum", ["changes", "levels"])
def test_the_period_is_that_of_the_wave(spectrum):
    time = torch.arange(120.0)
    waves = torch.stack([torch.sin(2 * torch.pi * time / period) for period in (8.0, 12.0, 24.0)])[..., None]
    found = seg.periods(waves + 0.05 * time[None, :, None], VisionConfig(spectrum=spectrum))
    assert found.tolist() == [8, 12, 24]


@pytest.mark.parametrize("size", [32, 64, 150, 224])
def test_a_picture_does_not_depend_on_its_neighbours(size):
    windows, config = walks(7), VisionConfig(size=size)
    together = encode(windows, config)
    crowded = encode(torch.cat([1000 * walks(3, seed=1), windows[2:3]]), config)
    assert together.shape == (7, 3, size, size)
    assert together.min() >= -1
    assert together.max() <= 1.0001
    for row in range(7):
        assert torch.allclose(encode(windows[row : row + 1], config)[0], together[row], atol=1e-5)
    assert torch.allclose(crowded[3], together[2], atol=1e-5)


def test_level_and_unit_of_a_variable_do_not_show():
    windows = walks(4).double()
    moved = windows * torch.tensor([1e-4, 3.0, 1.0, 10.0, 0.5]) + torch.tensor([150.0, 0.0, -5.0, 1e3, 1.0])
    assert torch.allclose(encode(windows, VisionConfig()), encode(moved, VisionConfig()), atol=1e-4)


def test_a_variable_that_stands_still_is_grey():
    windows = torch.cat([walks(2, variables=1), torch.full((2, 100, 1), 1.1)], dim=2)
    lower = encode(windows, VisionConfig(size=32, period=10))[:, 0, 16:]
    assert lower.abs().max() == 0


def test_time_runs_along_the_axes_and_not_variables():
    windows = walks(1, 64, 3)
    windows[:, 10], windows[:, 20] = 100.0, -100.0  # what scales a window stays
    later = windows.clone()
    later[:, 60:] += 20.0
    changed = encode(windows, VisionConfig(size=64, period=8)) - encode(later, VisionConfig(size=64, period=8))
    assert changed[0, 1:, :56, :56].abs().max() < 1e-5  # both early
    assert changed[0, 1:, 61:, :56].abs().max() > 1e-3
    assert changed[0, 0, :, :48].abs().max() < 1e-5  # early columns of the segmentation


def test_a_series_that_keeps_its_size_is_drawn_as_it_is():
    scaled = unit(walks(3, 64))[0]
    config = VisionConfig(size=64)
    periods = seg.periods(scaled, config)
    assert torch.allclose(draw(scaled, config), encode(scaled, config), atol=1e-5)
    small = draw(0.5 + 0.1 * (scaled - 0.5), config, periods)
    assert small[:, 0].abs().max() == pytest.approx(0.1, abs=1e-5)
    assert torch.allclose(small[:, 0], 0.1 * encode(scaled, config)[:, 0], atol=1e-5)
    assert small[:, 2].min() > 0.75  # near to itself at all times


def test_mixed_precision_does_not_blur_pictures():
    windows, config = walks(3), VisionConfig(size=64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = encode(windows, config)
    assert torch.equal(mixed, encode(windows, config))


def test_eight_bits_are_off_by_half_a_grey_level():
    windows, config = walks(3), VisionConfig(size=32)
    exact, kept = encode(windows, config), encode_bytes(windows, config)
    assert kept.dtype == torch.uint8
    assert torch.equal(kept, to_bytes(exact))
    assert (from_bytes(kept) - exact).abs().max() <= 1 / 255 + 1e-6


def test_fewer_encodings_repeat_over_the_three_channels():
    pictures = encode(walks(2), VisionConfig(size=32, channels=("gaf", "rp")))
    assert torch.equal(pictures[:, 0], pictures[:, 2])
    assert not torch.equal(pictures[:, 0], pictures[:, 1])


def test_resampling_keeps_averages_downwards_and_points_upwards():
    assert weights(6, 3).tolist() == [[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0.5, 0.5, 0, 0], [0, 0, 0, 0, 0.5, 0.5]]
    assert weights(3, 5).tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    assert torch.allclose(weights(100, 37).sum(dim=1), torch.ones(37))
    assert resampled(unit(walks(2))[0], 33).amax(dim=1).tolist() == [[1.0] * 5] * 2


def test_windows_that_make_no_picture_are_refused():
    windows = walks(3)
    windows[1, 5, 2] = torch.nan
    with pytest.raises(BadInputError, match=r"1 of 3 windows, the first 1, hold values that are not finite"):
        encode(windows, VisionConfig())
    with pytest.raises(BadInputError, match=r"expected floating point \(rows, length, variables\)"):
        encode(walks(1)[0], VisionConfig())
    with pytest.raises(BadInputError, match=r"no room for 40 variables"):
        encode(walks(1, variables=40), VisionConfig(size=32))
    with pytest.raises(ValueError, match=r"one to three different ones"):
        VisionConfig(channels=("gaf", "gaf"))
