"""`fxgpt backtest SYMBOL --retrained MODEL`: what retraining along history would have done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fxgpt_pipeline.cli.output import console, print_json, reporter, table

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage


def show_retrained(lineage: Lineage, family: str, as_json: bool) -> None:
    """Replay what is not replayed yet, then show versions, what called for each, scores and trades."""
    from fxgpt_pipeline.auditing import audit_replay
    from fxgpt_pipeline.cli.running import alone
    from fxgpt_pipeline.replaying import replay_family

    with reporter() as progress, alone(lineage.workspace, lineage.symbol):
        document = replay_family(lineage, family, progress)
        found = audit_replay(lineage, family) or {}
    if as_json:
        print_json(document)
        return
    out = console()
    out.print(_timeline(lineage.symbol, document))
    looks = ", ".join(f"{count} {what}" for what, count in sorted(document["looks"].items()))
    out.print(f"{len(document['versions'])} versions; looks: {looks} (all of them in the lake: retraining_decisions).")
    for postponed in (entry for entry in document["decisions"] if entry["what"] == "postpone"):
        out.print(f"  {postponed['at'][:16]} postponed: {' '.join(postponed['reasons'])}", markup=False)
    out.print(_scores(document))
    out.print(_trades(document))
    problems = [f"{name}: {said}" for name, several in found.items() for said in several]
    out.print("\n".join(problems) or f"Audits: {', '.join(found)}: all is right.", markup=False)


def _timeline(symbol: str, document: dict[str, Any]) -> Any:
    rows = [
        (
            version["number"],
            version["trained_at"][:16],
            version["trained_until"][:16],
            version["version"],
            version["rows"],
            round(version["seconds"], 1),
            " ".join(version["reasons"]),
        )
        for version in document["versions"]
    ]
    columns = ("", "trained at", "trained until", "version", "forecasts", "seconds", "why")
    return table(f"{symbol}, {document['family']} retrained along history (UTC)", columns, rows)


def _scores(document: dict[str, Any]) -> Any:
    rows = [
        (
            row["horizon"],
            row["rows"],
            round(row["effective_rows"]),
            f"{row['crps']['retrained'] * 1e4:.3f}",
            f"{row['crps']['fixed folds'] * 1e4:.3f}",
            _skill(row["against_folds"]),
            _skill(row["against_baseline"]),
            row["best_baseline"] or "",
            f"{row['coverage']['retrained']:.1%}",
            f"{row['coverage']['fixed folds']:.1%}",
        )
        for row in document["scores"]
    ]
    columns = (
        *(
            "horizon",
            "rows",
            "effective",
            "CRPS e-4",
            "of fixed folds",
            "skill against folds",
            "against best baseline",
            "baseline",
        ),
        *("90% coverage", "of fixed folds"),
    )
    return table(f"Same decisions, {document['start'][:16]} to {document['end'][:16]} UTC", columns, rows)


def _skill(skill: dict[str, float] | None) -> str:
    if skill is None:
        return ""
    return f"{skill['value']:+.2%} ({skill['low']:+.2%} to {skill['high']:+.2%})"


def _trades(document: dict[str, Any]) -> Any:
    rows = []
    for name, result in document["backtests"].items():
        metrics, sharpe, traded = result["metrics"], result["intervals"].get("sharpe"), result["status"] == "traded"
        rows.append(
            (
                name,
                result["status"],
                f"{metrics['return']:+.2%}" if traded else "",
                f"{metrics['sharpe']:.2f}" if traded and metrics["sharpe"] is not None else "",
                f"{sharpe[0]:.2f} to {sharpe[1]:.2f}" if traded and sharpe else "",
                f"{metrics['max_drawdown']:.1%}" if traded else "",
                int(metrics["trades"]) if traded else 0,
            )
        )
    columns = ("forecasts", "status", "return", "Sharpe", "95% interval", "drawdown", "trades")
    return table("Traded with the same rules and costs", columns, rows)
