"""The leaderboard over all pairs, from what the stores hold."""

from __future__ import annotations

from pathlib import Path

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.evaluation.leaderboard import Leaderboard, leaderboard
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.policy.alarms import raised_alarms
from fxgpt_core.reports.leaderboard_page import render_leaderboard
from fxgpt_core.store.documents import write_atomically
from fxgpt_pipeline.evaluating import EVALUATION
from fxgpt_pipeline.stages import SCORES
from fxgpt_pipeline.workspace import Workspace


def current_board(workspace: Workspace) -> Leaderboard:
    """Return the board of every configured pair that has an evaluation; cheap, it reads documents and manifests."""
    evaluations, champions, stale, alarms = [], {}, [], {}
    for symbol, asset in sorted(workspace.assets.items()):
        found = workspace.documents.find(EVALUATION, symbol)
        if found is None:
            continue
        evaluation = Evaluation.from_dict(found)
        evaluations.append(evaluation)
        for family in evaluation.families:
            raised = raised_alarms(evaluation, family, asset.acknowledged_alarms)
            alarms[symbol, family] = tuple(alarm.sentence for alarm in raised)
        chosen = workspace.documents.find("champion", symbol)
        if chosen is not None:
            champions[symbol] = str(chosen["champion_family"])
        if workspace.documents.fingerprint(EVALUATION, symbol) != _wanted(workspace, symbol):
            stale.append(symbol)
    return leaderboard(evaluations, champions, stale, alarms)


def write_board(workspace: Workspace) -> tuple[Leaderboard, Path]:
    """Render the board's page; returns both."""
    board = current_board(workspace)
    labels = {name: entry.label for name, entry in FAMILIES.items()}
    page = render_leaderboard(board, labels, workspace.clock.now().strftime("%Y-%m-%d %H:%M UTC"))
    return board, write_atomically(workspace.home.reports / "leaderboard.html", page)


def _wanted(workspace: Workspace, symbol: str) -> str | None:
    """Return the fingerprint that the evaluation should have, None where a broken configuration leaves it unknown."""
    try:
        return workspace.lineage(symbol).fingerprint(SCORES)
    except FxgptError:
        return None
