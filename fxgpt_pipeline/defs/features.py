"""Features and targets by symbol, and the checks that nothing looks ahead and warm-up suffices."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from fxgpt_core.features.registry import declarations_hash
from fxgpt_pipeline.defs.common import FRESH, Parts, begin, finished, known, reporter
from fxgpt_pipeline.stages import TABLES, TARGETS
from fxgpt_pipeline.workspace import Workspace

if TYPE_CHECKING:
    from fxgpt_core.features.stored import FeaturesSummary


_SHOWN = 100


def _schema(summary: "FeaturesSummary", base: str) -> dg.TableSchema:
    """Return the columns of the base timeframe's table with the share of rows that lack a value."""
    shares = [(one.column, one.missing_share) for one in summary.conditions if one.timeframe == base]
    columns = [dg.TableColumn("ts_utc", "timestamp"), dg.TableColumn("known_at", "timestamp")]
    columns += [dg.TableColumn(name, "float32", f"{share:.1%} missing") for name, share in shares]
    return dg.TableSchema(columns=columns)


def _missing(summary: "FeaturesSummary") -> dg.JsonMetadataValue:
    """Return by timeframe the share of rows that lack a value, of every column that lacks some."""
    shares: dict[str, dict[str, float]] = {code: {} for code in summary.rows}
    for one in summary.conditions:
        if one.missing_share:
            shares[one.timeframe][one.column] = round(one.missing_share, 4)
    return dg.MetadataValue.json(shares)


def _odd(summary: "FeaturesSummary") -> dg.TableMetadataValue:
    """Return the columns of all timeframes that are missing, constant or explosive in some month."""
    records = [
        dg.TableRecord({
            "timeframe": one.timeframe,
            "column": one.column,
            "missing": f"{one.missing_share:.1%}",
            "odd": one.sentence.removeprefix(f"{one.column} is "),
        })
        for one in summary.odd[:_SHOWN]
    ]  # fmt: skip
    names = ("timeframe", "column", "missing", "odd")
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name) for name in names]))


def build(parts: Parts) -> list[Any]:
    """Return the feature assets and their checks."""
    return [_tables(parts), _targets(parts), _no_look_ahead(parts), _warm_up_suffices(parts)]


def _tables(parts: Parts) -> dg.AssetsDefinition:
    @parts.asset(
        TABLES,
        description="Multi-timeframe features, one table a timeframe; each row is usable from its bar's close on. "
        "Months whose bars and definitions did not change are kept.",
        kinds={"parquet", "numpy"},
        declarations=declarations_hash(),
        automation_condition=FRESH,
    )
    def tables(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_core.features.stored import update_tables

        lineage = begin(context, workspace, TABLES)
        lineage.require_good_bars()
        summary = update_tables(
            workspace.lake, lineage.symbol, lineage.timeframes, lineage.spec, reporter(context, workspace)
        )
        return finished(
            lineage,
            TABLES,
            {
                "dagster/row_count": sum(summary.rows.values()),
                "columns": sum(summary.columns.values()),
                "rows_by_timeframe": dict(summary.rows),
                "months_computed": dict(summary.computed),
                "months_kept": dict(summary.skipped),
                "odd_columns": _odd(summary),
                "missing_share": _missing(summary),
                "dagster/column_schema": _schema(summary, lineage.timeframes[0].code),
            },
        )

    return tables


def _targets(parts: Parts) -> dg.AssetsDefinition:
    @parts.asset(
        TARGETS,
        description="Log returns over each horizon in units of the volatility yardstick, with the true end of every "
        "label; horizons count trading time.",
        kinds={"parquet", "numpy"},
        automation_condition=FRESH,
    )
    def targets(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_core.features.stored import update_targets

        lineage = begin(context, workspace, TARGETS)
        lineage.require_good_bars()
        summary = update_targets(workspace.lake, lineage.symbol, lineage.timeframes, lineage.horizons, lineage.spec)
        labels = {f"{minutes}m": count for minutes, count in summary.labels.items()}
        return finished(
            lineage,
            TARGETS,
            {"dagster/row_count": summary.rows, "usable_bars": summary.usable, "labels_by_horizon": labels},
        )

    return targets


def _no_look_ahead(parts: Parts) -> dg.AssetChecksDefinition:
    @parts.check(
        TABLES,
        "no_look_ahead",
        description="History is cut off at random and at adversarial points and everything computed again: no value "
        "known before the cut may change. Sampled stored months must be what would be computed now.",
        blocking=True,
    )
    def no_look_ahead(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.AssetCheckResult:
        from fxgpt_pipeline.feature_checks import look_ahead

        lineage = known(context, workspace)
        settings = lineage.settings
        report, stored = look_ahead(lineage, settings.leakage.cuts, settings.seed)
        return dg.AssetCheckResult(
            passed=report.passed and stored.passed,
            description=f"{report.sentence} {stored.sentence}",
            metadata={
                "cuts": [str(cut) for cut in report.cuts],
                "values": report.values,
                "leaks": [leak.sentence for leak in report.worst],
                "stored_months": stored.months,
                "stored_otherwise": [leak.sentence for leak in stored.differences],
                "not_judged": stored.notes,
            },
        )

    made: dg.AssetChecksDefinition = no_look_ahead
    return made


def _warm_up_suffices(parts: Parts) -> dg.AssetChecksDefinition:
    @parts.check(
        TABLES,
        "warm_up_suffices",
        description="Months are computed again with more warm-up: no column may change by more than a millionth of its "
        "standard deviation unless it is declared to.",
        blocking=True,
    )
    def warm_up_suffices(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.AssetCheckResult:
        from fxgpt_pipeline.feature_checks import warm_up

        lineage = known(context, workspace)
        report = warm_up(lineage, lineage.settings.leakage.warm_up_months, lineage.settings.seed)
        return dg.AssetCheckResult(
            passed=report.passed,
            description=report.sentence,
            metadata={"months": report.months, "changes": [found.sentence for found in report.found]},
        )

    made: dg.AssetChecksDefinition = warm_up_suffices
    return made
