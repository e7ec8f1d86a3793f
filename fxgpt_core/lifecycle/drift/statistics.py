"""Two-sample statistics: Kolmogorov–Smirnov per column, maximum mean discrepancy, and an extreme-value quantile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ks_against_sorted(reference: NDArray[Any], inside: NDArray[Any], window: NDArray[Any]) -> float:
    """Return the KS distance between `window` and `reference` without the points `inside`; all sorted, 1-D.

    The largest distance lies at a point of the window or just before it, so the reference is only searched. `inside`
    are the reference points that belong to the window itself: leaving them out keeps the two samples disjoint. Neither
    the window nor what is left of the reference may be empty.
    """
    rest = len(reference) - len(inside)
    # Of equal values the last one carries the step's top, the first one its bottom.
    top = np.searchsorted(window, window, side="right") / len(window)
    bottom = np.searchsorted(window, window, side="left") / len(window)
    at = np.searchsorted(reference, window, side="right") - np.searchsorted(inside, window, side="right")
    before = np.searchsorted(reference, window, side="left") - np.searchsorted(inside, window, side="left")
    return float(max(np.abs(at / rest - top).max(), np.abs(before / rest - bottom).max()))


def ks_distances(reference: NDArray[Any], window: NDArray[Any]) -> Floats:
    """Return the KS distance of each column of (n, columns) and (m, columns); infinite values are values too."""
    nothing = reference[:0, 0]
    return np.array(
        [ks_against_sorted(np.sort(reference[:, i]), nothing, np.sort(window[:, i])) for i in range(reference.shape[1])]
    )


def ks_p_value(distance: float, n: int, m: int) -> float:
    """Return the p-value of a KS distance of n and m independent rows, as `scipy.stats.ks_2samp(method="asymp")`."""
    from scipy.stats import kstwo

    return float(kstwo.sf(distance, round(n * m / (n + m))))


def squared_distances(left: Floats, right: Floats) -> Floats:
    """Return squared Euclidean distances: (n, d), (m, d) -> (n, m)."""
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    return np.asarray(np.maximum(squares, 0.0))


def median_bandwidth(reference: Floats) -> float:
    """Return the RBF bandwidth by the median heuristic: sigma² is half the median squared distance of distinct pairs.

    Gretton et al. (2012, JMLR 13, section 8).
    """
    distances = squared_distances(reference, reference)[np.triu_indices(len(reference), 1)]
    return float(np.sqrt(0.5 * np.median(distances))) or 1.0


def rbf(left: Floats, right: Floats, sigma: float) -> Floats:
    """Return the Gaussian kernel matrix exp(-|x - y|² / (2 sigma²)): (n, m)."""
    return np.asarray(np.exp(-squared_distances(left, right) / (2 * sigma**2)))


def mmd2(within_reference: Floats, within_window: Floats, across: Floats) -> float:
    """Return the unbiased squared MMD from kernel matrices (n, n), (m, m), (n, m); it may be slightly negative.

    Gretton et al. (2012, JMLR 13, eq. 3).
    """
    n, m = across.shape
    first = (within_reference.sum() - np.trace(within_reference)) / (n * (n - 1))
    second = (within_window.sum() - np.trace(within_window)) / (m * (m - 1))
    return float(first + second - 2 * across.mean())


def gumbel_quantile(maxima: Floats, probability: float) -> float:
    """Return the `probability` quantile of a Gumbel distribution fitted to block maxima by L-moments.

    Hosking (1990, JRSS B 52, table 2). Used because the wanted quantile lies near or beyond the largest of a few dozen
    blocks, where the empirical one could only repeat the largest.
    """
    ordered, n = np.sort(maxima), len(maxima)
    first = ordered.mean()
    second = 2 * (ordered * np.arange(n)).sum() / (n * (n - 1)) - first
    scale = second / np.log(2)
    return float(first - np.euler_gamma * scale - scale * np.log(-np.log(probability)))
