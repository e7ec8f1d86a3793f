"""The tables of `fxgpt backtest` that say how much of a result is luck, and what earns without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fxgpt_core.backtest.metrics import TRADING_DAYS
from fxgpt_pipeline.cli.output import table

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage


def luck_table(lineage: Lineage, results: dict[str, Any]) -> Any:
    """Return one row per model that traded, judged by everything tried on its span until now."""
    from fxgpt_pipeline.scrutiny import verdict_now

    rows = []
    for name, result in results.items():
        luck = verdict_now(lineage, name, result).luck
        if luck is not None:
            chance, over = result["random_entries"], luck.overfitting
            rows.append(
                (
                    name,
                    f"{luck.sharpe:.2f}",
                    luck.tried,
                    f"{luck.expected_best:.2f}",
                    f"{luck.deflated:.1%}",
                    f"{luck.probability:.1%}",
                    "" if chance is None else f"{chance['p_return']:.3f}",
                    "" if over is None else f"{over.probability:.0%}",
                    f"{luck.days / TRADING_DAYS:.1f}",
                    "never" if luck.days_needed is None else f"{luck.days_needed / TRADING_DAYS:.1f}",
                )
            )
    columns = (
        "model", "Sharpe", "tried", "best of chance", "deflated", "above 0", "random p", "overfit", "years", "needed",
    )  # fmt: skip
    title = (
        "Luck, by every strategy counted for the pair; deflated: P(Sharpe > best of chance); needed: years to show a "
        "profit at 95 %"
    )
    return table(title, columns, rows)


def rules_table(results: dict[str, Any]) -> Any:
    """Return one row per model and rule without a model, at that model's sizes and costs."""
    rows = [
        (name, rule["name"], f"{rule['gross_return']:+.2%}", f"{rule['total_return']:+.2%}",
         "" if rule["sharpe"] is None else f"{rule['sharpe']:.2f}", rule["trades"])
        for name, result in results.items()
        for rule in result.get("comparisons", ())
    ]  # fmt: skip
    return table("Without a model, at its sizes and costs", ("model", "rule", "gross", "net", "Sharpe", "trades"), rows)
