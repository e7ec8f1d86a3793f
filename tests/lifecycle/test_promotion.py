"""Whatever goes wrong while a champion is replaced, the old one serves on, and nothing is half done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.lifecycle import alias_moves
from fxgpt_core.lifecycle.archiving import ARCHIVED, archive_shadow, finish_archiving
from fxgpt_core.lifecycle.promotion import enter_shadow, promote, rollback, settle
from fxgpt_core.lifecycle.registry import ModelRegistry
from fxgpt_core.policy.config import GateConfig
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.shadow import ARCHIVE, trial_cause
from fxgpt_core.store.audit import promotions_between, recent_decisions
from fxgpt_core.store.clock import to_datetime64
from tests.lifecycle.small_registry import (
    NOON,
    SYMBOL,
    SmallRegistry,
    dies,
    processes,
    promote_and_die,
    promote_together,
    register_together,
    smoke,
)
from tests.policy.test_promotion import evaluation, family, lately

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> SmallRegistry:
    """Version 1 serves, 2 and 3 wait."""
    made = SmallRegistry(tmp_path_factory.mktemp("home")).prepare(3)
    made.promote("1")
    return made


def moves(home: SmallRegistry) -> list[tuple[str | None, str]]:
    """Every move in the order in which it was recorded: processes beside each other have clocks of their own."""
    rows = promotions_between(home.database, NOON - HOUR, NOON + 99 * HOUR)
    return [(row.from_version, row.to_version) for row in sorted(rows, key=lambda row: row.id)]


def forget_trials(home: SmallRegistry, version: str) -> None:
    """Let the next test find no trace of a shadow."""
    home.registry.tag(home.registry.get(SYMBOL, version), {ARCHIVED: "false"})
    with home.database.session() as session:
        session.execute(sa.text("DELETE FROM promotions WHERE alias = 'shadow'"))


def refuse(*_: Any, **__: Any) -> None:
    raise StoreError("the power went out")


def second(real: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that works once and fails from the second call on."""
    calls = 0

    def once(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return real(*args, **options) if calls == 1 else refuse()

    return once


def assert_untouched(home: SmallRegistry) -> None:
    held, left = home.registry.aliases(SYMBOL)
    assert (held, left, home.champion()) == ({"champion": "1"}, None, "1")
    assert moves(home) == [(None, "1")]


@pytest.mark.parametrize(
    ("owner", "name", "fake"),
    [
        (ModelRegistry, "folder", refuse),
        (ModelRegistry, "begin_move", refuse),
        (ModelRegistry, "set_alias", refuse),
        (ModelRegistry, "set_alias", second(ModelRegistry.set_alias)),
        (ModelRegistry, "folder", second(ModelRegistry.folder)),
        (alias_moves, "record_promotion", refuse),
    ],
    ids=["load before", "note", "previous", "champion", "load after", "audit row"],
)
def test_a_step_that_fails_leaves_the_old_champion_and_no_trace(
    home: SmallRegistry, owner: Any, name: str, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fake)
        with pytest.raises(StoreError, match="the power went out"):
            home.promote("2")
    if name == "set_alias":  # it failed while it was put back as well: readers saw the old one, and now it is mended
        assert home.champion() == "1"
        with alias_moves.moving(home.registry, home.database, SYMBOL):
            pass
    assert_untouched(home)


def test_a_forecast_that_fails_once_the_alias_has_moved_puts_it_back(home: SmallRegistry) -> None:
    seen = []

    def forecast(bundle: Any) -> object:
        held, _ = home.registry.aliases(SYMBOL)
        seen.append((held["champion"], home.champion()))
        return refuse() if len(seen) == 2 else smoke(bundle)

    registry, decision = home.registry, Decision(SYMBOL, "champion", ("A test.",), to_datetime64(NOON))
    with pytest.raises(StoreError, match="the power went out"):
        promote(registry, home.database, registry.get(SYMBOL, "2"), decision, NOON, forecast)
    assert seen == [("1", "1"), ("2", "1")], "it is proven through the alias, unseen by consumers"
    assert_untouched(home)


@pytest.mark.parametrize("damage", ["missing", "checksum"])
def test_a_damaged_artefact_is_named_and_the_old_champion_stays(home: SmallRegistry, damage: str) -> None:
    version = home.registry.get(SYMBOL, "3")
    file = next(f for f in home.registry.folder(version).rglob("*") if f.parent.name == "forecaster" and f.is_file())
    content = file.read_bytes()
    file.unlink() if damage == "missing" else file.write_bytes(content + b"#")
    try:
        with pytest.raises(StoreError, match=rf"forecaster/{file.name} missing or damaged"):
            home.promote("3")
    finally:
        file.write_bytes(content)
    assert_untouched(home)


def test_a_database_that_cannot_tell_leaves_it_to_the_next_command(home: SmallRegistry) -> None:
    with home.database.session() as session:
        session.execute(sa.text("ALTER TABLE promotions RENAME TO hidden"))
    try:
        with pytest.raises(StoreError):
            home.promote("2")
        held, left = home.registry.aliases(SYMBOL)
        assert (held, home.champion()) == ({"champion": "1"}, "1")
        assert left is not None
    finally:
        with home.database.session() as session:
            session.execute(sa.text("ALTER TABLE hidden RENAME TO promotions"))
    with alias_moves.moving(home.registry, home.database, SYMBOL):
        pass
    assert_untouched(home)


def test_another_champion_than_the_decision_was_about_is_not_replaced(home: SmallRegistry) -> None:
    registry, decision = home.registry, Decision(SYMBOL, "champion", ("A test.",), to_datetime64(NOON))
    two, three = (registry.get(SYMBOL, version) for version in "23")
    with pytest.raises(BadInputError, match=r"EURUSD/3 was to follow EURUSD/2, but EURUSD/1 is champion"):
        promote(registry, home.database, three, decision, NOON, smoke, instead_of=two)
    assert_untouched(home)


def test_settling_again_neither_prolongs_a_trial_nor_repeats_it(home: SmallRegistry) -> None:
    found = evaluation(family("ridge", 0.99, 0.001))
    versions = {"ridge": home.registry.get(SYMBOL, "2"), "ewma": home.registry.get(SYMBOL, "3")}

    def settled(hours: int, cause: str = "training:once") -> Decision:
        at = NOON + hours * HOUR
        return settle(home.registry, home.database, found, versions, GateConfig(), at, smoke, cause=cause)

    assert settled(1).what == "shadow"
    entered = home.registry.get(SYMBOL, "2").tags["shadow_at"]
    assert settled(100).what == "shadow"
    assert home.registry.get(SYMBOL, "2").tags["shadow_at"] == entered
    again = settled(101)
    assert archive_shadow(home.registry, home.database, home.registry.get(SYMBOL, "2"), again, NOON)
    assert settled(200).what == "keep"
    assert settled(201, "training:the same under other settings").what == "keep"
    assert home.registry.holder(SYMBOL, "shadow") is None
    forget_trials(home, "2")


def test_an_archiving_that_was_recorded_is_carried_out_whatever_came_after(
    home: SmallRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow, at = home.registry.get(SYMBOL, "2"), to_datetime64(NOON)
    enter_shadow(home.registry, home.database, shadow, Decision(SYMBOL, "shadow", ("Best.",), at), NOON, smoke)
    cause = trial_cause("EURUSD/2", "EURUSD/1", at, ARCHIVE)
    assert finish_archiving(home.registry, home.database, shadow, cause, NOON) is None
    verdict = Decision(SYMBOL, ARCHIVE, ("It is worse.",), at, cause, {"blocks": 9})
    with monkeypatch.context() as patch:
        patch.setattr(ModelRegistry, "tag", refuse)
        with pytest.raises(StoreError):
            archive_shadow(home.registry, home.database, shadow, verdict, NOON)
    assert home.registry.get(SYMBOL, "2").aliases == ("shadow",)
    assert finish_archiving(home.registry, home.database, shadow, cause, NOON) == verdict
    assert home.registry.get(SYMBOL, "2").aliases == ()
    forget_trials(home, "2")


def test_a_trial_goes_on_while_trainings_by_age_make_newer_ones(home: SmallRegistry) -> None:
    found, month = evaluation(family("ridge", 0.99, 0.001)), timedelta(days=28)

    def settled(version: str, days: int, trial: timedelta) -> Decision:
        versions = {"ridge": home.registry.get(SYMBOL, version), "ewma": home.registry.get(SYMBOL, version)}
        at, cause = NOON + timedelta(days=days), f"training:{version}:{days}"
        return settle(home.registry, home.database, found, versions, GateConfig(), at, smoke, cause=cause, trial=trial)

    assert settled("2", 0, month).what == "shadow"
    kept = settled("3", 14, month)
    assert (kept.what, home.registry.get(SYMBOL, "2").aliases) == ("keep", ("shadow",))
    assert kept.reasons[0] == "EURUSD/2 is shadow, and its trial goes on."
    assert settled("3", 15, timedelta(0)).what == "shadow"  # drift, or a person, does not wait
    assert home.registry.get(SYMBOL, "3").aliases == ("shadow",)
    assert settled("2", 43, month).what == "shadow"
    home.registry.delete_alias(SYMBOL, "shadow")
    with home.database.session() as session:
        session.execute(sa.text("DELETE FROM promotions WHERE alias = 'shadow'"))


def test_a_trial_ends_where_another_family_is_shown_to_do_better_in_the_newest_days(home: SmallRegistry) -> None:
    old, month = evaluation(family("ridge", 0.99, 0.001)), timedelta(days=28)
    (tried,) = {home.registry.get(SYMBOL, version).family for version in "23"}
    newest = (lately("ridge", tried, 0.08, 0.001), lately("ewma", "ridge", -0.08, 0.999))
    since = (NOON + timedelta(days=1)).isoformat()[:19]
    changed = replace(old, recent=newest, recent_since=since, recent_until=(NOON + timedelta(days=15)).isoformat()[:19])

    def settled(found: Evaluation, version: str, days: int) -> Decision:
        versions = {"ridge": home.registry.get(SYMBOL, version), "ewma": home.registry.get(SYMBOL, version)}
        at, cause = NOON + timedelta(days=days), f"training:{version}:{days}:change"
        return settle(home.registry, home.database, found, versions, GateConfig(), at, smoke, cause=cause, trial=month)

    assert settled(old, "2", 0).what == "shadow"
    assert settled(old, "3", 14).what == "keep"
    ends = settled(changed, "3", 15)
    assert ends.what == "shadow"
    assert ends.reasons[0].startswith("The trial of EURUSD/2 ends for ridge: from ")
    assert ends.evidence["ends"]["gain"]["value"] == 0.08
    assert home.registry.get(SYMBOL, "3").aliases == ("shadow",)
    home.registry.delete_alias(SYMBOL, "shadow")
    with home.database.session() as session:
        session.execute(sa.text("DELETE FROM promotions WHERE alias = 'shadow'"))


_DEATHS = [
    ("before registry.set_alias", 2),  # previous is set, the champion is not
    ("before moves.record_promotion", 1),
    ("after moves.record_promotion", 1),
]
_MORE_DEATHS = [
    ("before registry.begin_move", 1),
    ("after registry.begin_move", 1),
    ("before registry.set_alias", 1),
    ("after registry.set_alias", 1),
    ("after registry.set_alias", 2),
    ("before registry.folder", 2),
    ("after registry.folder", 2),
    ("before registry.tag", 1),
    ("after registry.tag", 1),
    ("before registry.end_move", 1),
    ("after registry.end_move", 1),
]


def run_together(target: Any, root: Path, others: list[tuple[Any, ...]]) -> None:
    """Run one process for each of `others`, which start their work at the same moment."""
    context = processes()
    start = context.Barrier(len(others))
    children = [context.Process(target=target, args=(root, start, *each)) for each in others]
    for child in children:
        child.start()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0] * len(children)


def kill_and_carry_on(home: SmallRegistry, point: str, number: int, before: int) -> None:
    """Kill a promotion of version 2 where 1 serves; whatever it left, doing it again ends well."""
    dies(promote_and_die, home.root, point, number)
    recorded = moves(home)[before:]
    assert recorded in ([], [("1", "2")])
    assert home.champion() == ("2" if point == "after registry.end_move" else "1"), "a promotion is seen when complete"
    with alias_moves.moving(home.registry, home.database, SYMBOL):
        pass  # whoever comes next
    assert home.champion() == ("2" if recorded else "1")
    assert home.registry.aliases(SYMBOL)[1] is None
    home.promote("2", hours=1)
    assert moves(home)[before:] == [("1", "2")], "recorded once"
    held, _ = home.registry.aliases(SYMBOL)
    assert held == {"champion": "2", "previous": "1"}
    if number == 1 and "record" in point:
        assert home.registry.get(SYMBOL, "2").tags["champion_reason"] == "A test."


@pytest.mark.parametrize(("point", "number"), _DEATHS)
def test_a_promotion_that_is_killed_is_finished_or_undone(home: SmallRegistry, point: str, number: int) -> None:
    _at_version_one(home)
    kill_and_carry_on(home, point, number, len(moves(home)))


@pytest.mark.deep
@pytest.mark.parametrize(("point", "number"), _MORE_DEATHS)
def test_a_promotion_that_is_killed_anywhere_is_finished_or_undone(
    home: SmallRegistry, point: str, number: int
) -> None:
    _at_version_one(home)
    kill_and_carry_on(home, point, number, len(moves(home)))


def test_processes_that_promote_at_the_same_moment_take_turns(home: SmallRegistry) -> None:
    _at_version_one(home)
    run_together(promote_together, home.root, [("2", 3), ("3", 3)])
    chain = moves(home)
    assert [origin for origin, _ in chain[1:]] == [target for _, target in chain[:-1]], "each follows the one before"
    held, left = home.registry.aliases(SYMBOL)
    assert left is None
    assert (held["previous"], held["champion"]) == chain[-1]
    _at_version_one(home)


def test_processes_that_register_at_the_same_moment_make_one_version_of_each_training(tmp_path: Path) -> None:
    home = SmallRegistry(tmp_path).prepare(0)
    run_together(register_together, tmp_path, [(("a", "b"),), (("b", "a"),)])
    made = home.registry.versions(SYMBOL)
    assert [version.version for version in made] == ["2", "1"]
    assert {version.tags["fingerprint"] for version in made} == {"a", "b"}


def _at_version_one(home: SmallRegistry) -> None:
    """Begin anew: version 1 serves and nobody served before it."""
    registry = home.registry
    held, _ = registry.aliases(SYMBOL)
    registry.set_alias(SYMBOL, "champion", "1")
    for alias in held.keys() - {"champion"}:
        registry.delete_alias(SYMBOL, alias)
    with home.database.session() as session:
        session.execute(sa.text("DELETE FROM promotions WHERE to_version <> '1'"))


def test_rollback_is_recorded_with_its_reason(home: SmallRegistry) -> None:
    _at_version_one(home)
    home.promote("2", hours=2)
    back = rollback(home.registry, home.database, SYMBOL, NOON + 3 * HOUR, smoke, "spreads doubled")
    assert (back.version, home.champion()) == ("1", "1")
    assert home.registry.aliases(SYMBOL)[0] == {"champion": "1", "previous": "2"}
    (row,) = [row for row in recent_decisions(home.database, SYMBOL) if row.what == "rollback"]
    assert row.reasons == ["Rolled back from EURUSD/2 to EURUSD/1 by a person: spreads doubled"]


def test_a_version_serves_since_it_came_and_anew_after_it_was_away(home: SmallRegistry) -> None:
    def since(version: str) -> str:
        return home.registry.get(SYMBOL, version).tags["serving_since"]

    _at_version_one(home)
    decision, times = Decision(SYMBOL, "shadow", ("r",), to_datetime64(NOON)), [NOON + n * HOUR for n in range(6)]
    enter_shadow(home.registry, home.database, home.registry.get(SYMBOL, "2"), decision, times[2], smoke)
    home.promote("2", hours=3)
    assert since("2") == times[2].isoformat()  # shadow first, champion without a break
    rollback(home.registry, home.database, SYMBOL, times[4], smoke)
    assert since("1") == times[4].isoformat()


def test_a_symbol_that_had_one_champion_cannot_be_rolled_back(tmp_path: Path) -> None:
    home = SmallRegistry(tmp_path).prepare(1)
    home.promote("1")
    with pytest.raises(BadInputError, match="no previous champion"):
        rollback(home.registry, home.database, SYMBOL, NOON, smoke)
