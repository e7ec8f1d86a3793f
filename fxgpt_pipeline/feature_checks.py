"""The checks of a symbol's features, as the blocking checks of a run and `fxgpt check` both make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxgpt_core.common.progress import Progress, silent
from fxgpt_pipeline.lineage import Lineage

if TYPE_CHECKING:
    from fxgpt_core.features.checks.leakage import LeakageReport
    from fxgpt_core.features.checks.recursion import RecursionReport
    from fxgpt_core.features.checks.stored import StoredReport


def look_ahead(
    lineage: Lineage,
    cuts: int,
    seed: int,
    exhaustive: bool = False,
    progress: Progress = silent,
) -> tuple[LeakageReport, StoredReport]:
    """Cut the symbol's history, and compare sampled months of what is stored; raises DataError without candles."""
    from fxgpt_core.features.checks.leakage import check_leakage
    from fxgpt_core.features.checks.stored import check_stored

    layout = lineage.timeframes, lineage.horizons, lineage.spec
    report = check_leakage(
        lineage.candles(),
        *layout,
        cuts,
        seed,
        lineage.releases(),
        exhaustive,
        progress=progress,
    )
    months = lineage.settings.leakage.stored_months
    return report, check_stored(lineage.workspace.lake, lineage.symbol, *layout, months, seed)


def warm_up(lineage: Lineage, months: int, seed: int, progress: Progress = silent) -> RecursionReport:
    """Compute months of the symbol with more warm-up; raises DataError without candles."""
    from fxgpt_core.features.checks.recursion import check_recursion

    by_code = {bar.code: lineage.candles(bar) for bar in lineage.timeframes}
    return check_recursion(
        by_code, lineage.timeframes, lineage.spec, months, seed, lineage.releases(), progress=progress
    )
