"""Collecting what a report shows and writing it."""

from __future__ import annotations

from pathlib import Path

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.evaluation.archive import CALIBRATED, read_span
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.models.walk_forward import read_walk_forward
from fxgpt_core.reports.backtest_page import BacktestInputs, render_backtest
from fxgpt_core.reports.overview import OverviewInputs, render_overview
from fxgpt_core.store.asset_config import Costs
from fxgpt_core.store.documents import write_atomically
from fxgpt_pipeline.evaluating import EVALUATION, TRADES, backtest_name, calibration_name
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.outputs import groundwork_path, report_path
from fxgpt_pipeline.scrutiny import verdict_now
from fxgpt_pipeline.serving import forecast_now, resolve
from fxgpt_pipeline.splitting import walk_forward_timeline


def write_backtest(lineage: Lineage, family: str, path: Path | None = None) -> Path:
    """Write the page of a family's stored backtest, judged by what has been tried until now; returns its path.

    Raises BadInputError where the symbol has no such family, StoreError before its first backtest.
    """
    workspace, symbol, costs = lineage.workspace, lineage.symbol, lineage.asset.costs
    if family not in lineage.families:
        raise BadInputError(f"{symbol} has no model {family!r}: it has {', '.join(lineage.families)}.")
    document = workspace.documents.read(backtest_name(family), symbol)
    if "trial" not in document:
        raise StoreError(f"The backtest of {symbol} {family} is an old one: run `fxgpt materialize --symbol {symbol}`.")
    judged = verdict_now(lineage, family, document)
    stored = workspace.lake.read(TRADES, {"symbol": symbol, "family": family})
    page = render_backtest(
        BacktestInputs(
            symbol=symbol,
            label=FAMILIES[family].label,
            made_at=workspace.clock.now().strftime("%Y-%m-%d %H:%M UTC"),
            document=document,
            trades=stored.to_pandas(),
            candles=lineage.candles(),
            forecast=read_span(workspace.lake, CALIBRATED, symbol, family),
            luck=None if judged.luck is None else judged.luck.to_dict(),
            sentences=judged.sentences,
            costs=_charged(costs),
        )
    )
    return write_atomically(path or report_path(lineage).with_name(f"backtest_{family}.html"), page)


def _groundwork_pages(lineage: Lineage) -> dict[str, str]:
    """Return the pages of the families' groundwork that were written: label -> file name."""
    parts = [(FAMILIES[name], part) for name in lineage.families for part in FAMILIES[name].groundwork]
    paths = {f"{entry.label}: {part.label}": groundwork_path(lineage, entry.name, part.name) for entry, part in parts}
    return {label: path.name for label, path in paths.items() if path.exists()}


def _charged(costs: Costs) -> str:
    return (
        f"spread {costs.spread_pips:g} pips, slippage {costs.slippage_pips:g} pips a side, commission "
        f"{costs.commission_per_million:g} per million a side"
    )


def write_overview(lineage: Lineage) -> Path:
    """Render the symbol's report from stored results and the champion's newest forecast; returns its path."""
    workspace, symbol, costs = lineage.workspace, lineage.symbol, lineage.asset.costs
    documents, lake = workspace.documents, workspace.lake
    live, _ = forecast_now(lineage, resolve(lineage, "champion"))
    champion = documents.read("champion", symbol)
    sizes = calibration_name(champion["champion_family"])
    dataset = lineage.dataset()
    page = render_overview(
        OverviewInputs(
            symbol=symbol,
            made_at=workspace.clock.now().strftime("%Y-%m-%d %H:%M UTC"),
            candles=lineage.candles(),
            outcomes=Outcomes.from_dataset(dataset),
            evaluation=Evaluation.from_dict(documents.read(EVALUATION, symbol)),
            raw={name: read_walk_forward(lake, symbol, name).forecast for name in lineage.families},
            calibrated={name: read_span(lake, CALIBRATED, symbol, name) for name in lineage.families},
            backtests={name: documents.read(backtest_name(name), symbol) for name in lineage.families},
            champion=champion,
            drift=documents.read("drift", symbol),
            quality=documents.read("quality", symbol),
            labels={name: FAMILIES[name].label for name in lineage.families},
            costs=_charged(costs),
            live=live,
            timeline=walk_forward_timeline(lineage, dataset),
            embargo_days=lineage.settings.walk_forward.embargo_days,
            sizes=documents.read(sizes, symbol) if documents.exists(sizes, symbol) else {},
            pages=_groundwork_pages(lineage),
        )
    )
    return write_atomically(report_path(lineage), page)
