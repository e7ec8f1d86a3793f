"""One training run: stopping, averages, checkpoints, resume, fallbacks; Lightning underneath, a toy lesson on top."""

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import ROWS, Regression, Rows, options, quiet, same, save_soon, train

from fxgpt_core.common.errors import ModelError
from fxgpt_core.training.control import CONTROL
from fxgpt_core.training.hardware import GIB, Hardware
from fxgpt_core.training.plan import TrainingPlan, plan_training
from fxgpt_core.training.run import Trained, run_training
from fxgpt_core.training.wishes import Wishes

PLAN = TrainingPlan(seed=1)


class Scripted(Regression):
    """Validates to a given list of values, epoch by epoch."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = list(values)

    def validate(self, parts: int) -> dict[str, float]:
        return {"validation_error": self.values.pop(0)}


def test_training_stops_when_patience_ends_and_returns_the_best_epoch() -> None:
    done: list[int] = []
    lesson = Scripted([5.0, 3.0, 2.9999, 4.0, 4.0, 1.0])
    found = train(PLAN, lesson, progress=lambda w, n, t, note="": done.append(n), epochs=6, patience=3, min_delta=0.01)
    assert done == [1, 2, 3, 4, 5]  # the third gain was below min delta: epoch 2 is the last that counted
    assert (found.best_epoch, found.best_score) == (2, pytest.approx(2.9999))
    assert found.history["validation_error"] == [5.0, 3.0, 2.9999, 4.0, 4.0]


def test_a_run_killed_after_it_had_stopped_trains_no_further(tmp_path: Path) -> None:
    plan = replace(PLAN, checkpoints=tmp_path)
    scores = [5.0, 3.0, 4.0, 4.0, 4.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    first = train(plan, Scripted(scores), epochs=10, patience=3)
    again = train(plan, Scripted(scores[5:]), epochs=10, patience=3)  # what followed training is what was killed
    assert again.history == first.history
    assert (again.best_epoch, again.best_score) == (first.best_epoch, first.best_score) == (1, 3.0)
    assert all(torch.equal(again.best[name], first.best[name]) for name in first.best)


def test_the_metric_that_stops_must_be_among_those_validated() -> None:
    lesson = Scripted([1.0])
    lesson.metric = "crps"
    with pytest.raises(ModelError, match=r"Validation gave validation_error, but stops by crps"):
        train(PLAN, lesson)


def test_validation_and_result_are_averaged_weights_which_lag_behind() -> None:
    lesson = Regression()
    found = train(PLAN, lesson, average_decay=0.99)
    assert found.best_epoch == 3
    raw = {name: value.clone() for name, value in lesson.network.state_dict().items()}
    assert not any(torch.equal(found.best[name], raw[name]) for name in raw)
    lesson.network.load_state_dict(found.best)
    lesson.network.eval()
    assert lesson.validate(1)["validation_error"] == found.history["validation_error"][-1]
    follower = train(PLAN, other := Regression(), average_decay=0.0)
    assert all(torch.equal(follower.best[name], value) for name, value in other.network.state_dict().items())


def test_equal_seeds_give_equal_bits_and_dropout_acts() -> None:
    first, second = (train(PLAN, Regression(dropout=0.3)) for _ in range(2))
    assert same(first, second)
    assert first.history != train(replace(PLAN, seed=2), Regression(dropout=0.3)).history
    assert first.history != train(PLAN, Regression(dropout=0.0)).history


def test_rates_anneal_to_their_floor_and_dynamics_never_decay(tmp_path: Path) -> None:
    train(replace(PLAN, checkpoints=tmp_path), lr_min=2e-3)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    groups = kept["optimizer_states"][0]["param_groups"]
    ends = {group["initial_lr"]: group["lr"] for group in groups}
    assert ends == pytest.approx({1e-2: 2e-3, 5e-3: 2e-3, 1e-3: 1e-3})
    assert next(group["weight_decay"] for group in groups if group["initial_lr"] == 1e-3) == 0.0


@pytest.mark.parametrize("wishes", [{"pass_items": 3}, {"recompute": "on"}, {"pass_items": 1, "recompute": "on"}])
def test_how_a_batch_is_cut_changes_nothing_but_rounding(wishes: dict[str, object]) -> None:
    plan = plan_training(1, hardware=Hardware(1, 4 * GIB))
    whole, cut = train(plan), train(plan.wished(Wishes(**wishes)))
    assert cut.plan.accumulation > 1 or cut.plan.recompute
    for name, value in whole.best.items():
        torch.testing.assert_close(cut.best[name], value, rtol=1e-4, atol=1e-6)


def test_recomputing_keeps_fewer_activations_and_repeats_dropout() -> None:
    plan = plan_training(1, hardware=Hardware(1, 4 * GIB))
    kept, recomputed = (train(plan.wished(Wishes(recompute=r)), Regression(dropout=0.3)) for r in ("off", "on"))
    assert same(kept, recomputed)
    assert recomputed.plan.estimate.bytes < kept.plan.estimate.bytes


def test_half_precision_trains() -> None:
    plan = plan_training(1, hardware=Hardware(1, 4 * GIB), wishes=Wishes(precision="bf16"))
    exact, rough = train(PLAN), train(plan)
    assert rough.history != exact.history
    assert rough.history["train_loss"] == pytest.approx(exact.history["train_loss"], rel=0.02)


def test_a_planner_that_may_choose_the_batch_takes_up_to_all_items() -> None:
    stream = Rows(1, batch=None)
    found = train(plan_training(1, hardware=Hardware(1, 4 * GIB)), stream=stream)
    assert stream.batch == ROWS
    assert any("of 48" in reason for reason in found.plan.reasons)


class Full:
    """Runs out of memory with more than `most` items, from the call after `calls` on."""

    def __init__(self, most: int, calls: int = 0, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.most, self.calls, self.error = most, calls, error

    def __call__(self, lesson: Regression, items: torch.Tensor) -> None:
        if len(lesson.sizes) > self.calls and len(items) > self.most:
            raise self.error("CUDA out of memory")


def test_out_of_memory_halves_the_passes_and_goes_on_from_the_same_step() -> None:
    lesson, stream = Regression(trouble=Full(2, calls=12)), Rows(1)
    found = train(PLAN, lesson, stream)
    assert found.notes == (
        "out of memory in step 10: passes of 4 instead of 8 items",
        "out of memory in step 10: passes of 2 instead of 4 items",
    )
    assert found.plan.pass_items == 2
    assert len(stream.served) == 1 + 4 * 6  # one batch was measured; no epoch was begun again
    whole = train(PLAN)
    for name, value in whole.best.items():
        torch.testing.assert_close(found.best[name], value, rtol=1e-4, atol=1e-6)


def test_out_of_memory_with_one_item_recomputes_then_says_what_to_do() -> None:
    def full(lesson: Regression, items: torch.Tensor) -> None:
        if len(items) > 1 or (len(lesson.sizes) > 6 and "forward" not in vars(lesson.network.first)):
            raise MemoryError

    lesson = Regression(trouble=full)
    found = train(PLAN, lesson)
    assert found.plan.recompute
    assert "one item: activations are recomputed" in found.notes[-1]
    assert "forward" not in vars(lesson.network.first)  # the network is left as it was
    with pytest.raises(ModelError, match=r"even for one item at a time .* shorten segments"):
        train(PLAN, Regression(trouble=Full(0, calls=4)))


def test_out_of_memory_in_validation_works_in_parts() -> None:
    class Wide(Regression):
        def validate(self, parts: int) -> dict[str, float]:
            if parts < 4:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return super().validate(parts)

    assert train(PLAN, Wide()).notes == tuple(f"out of memory in validation: worked in {n} parts" for n in (2, 4))


def test_a_failed_compilation_goes_on_in_eager_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(function: Callable[..., object], mode: str) -> Callable[..., object]:
        def fails(*_: object) -> object:
            raise RuntimeError(f"no compiler for mode {mode}\nmore")

        return fails

    monkeypatch.setattr(torch, "compile", refuse)
    found = train(replace(PLAN, compile="default", hardware=None), epochs=2)
    assert found.notes == ()  # short work is not compiled
    plan = replace(PLAN, compile="default", wishes=Wishes(compile="on"))
    found = train(plan)
    assert found.notes == (
        "eager from step 1 on, the compiled step failed: RuntimeError: no compiler for mode default",
    )
    assert same(found, train(PLAN))


def test_errors_of_the_lesson_itself_are_not_swallowed() -> None:
    def broken(lesson: Regression, items: torch.Tensor) -> None:
        if len(lesson.sizes) > 9:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        train(PLAN, Regression(trouble=broken))


class Killed(Exception):
    pass


def killed_at(epoch: int) -> Callable[..., None]:
    def progress(what: str, done: int, total: int, note: str = "") -> None:
        if done == epoch:
            raise Killed

    return progress


def test_checkpoints_are_last_best_and_every_n_and_each_of_them_continues_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    straight = train(PLAN, Regression(dropout=0.2), epochs=6)
    plan = replace(PLAN, checkpoints=tmp_path / "run")
    with pytest.raises(Killed):
        train(plan, Regression(dropout=0.2), progress=killed_at(6), epochs=6)
    assert {f.name for f in plan.checkpoints.iterdir()} == {"last.ckpt", "best.ckpt", "epoch-2.ckpt", "epoch-4.ckpt"}
    for name in ("last", "best", "epoch-2"):
        other = replace(PLAN, checkpoints=tmp_path / name)
        other.checkpoints.mkdir()
        (other.checkpoints / "last.ckpt").write_bytes((plan.checkpoints / f"{name}.ckpt").read_bytes())
        assert same(train(other, Regression(seed=9, dropout=0.2), epochs=6), straight), name
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(("step", "remembers"), [(1, False), (4, False), (4, True), (6, True)])
def test_a_checkpoint_asked_for_within_an_epoch_continues_bit_for_bit(
    tmp_path: Path, step: int, remembers: bool
) -> None:
    straight = train(PLAN, Regression(dropout=0.2, remembers=remembers))
    plan = replace(PLAN, checkpoints=tmp_path)
    at = 3 + 6 + step  # three passes measure, an epoch has six steps

    def trouble(lesson: Regression, items: torch.Tensor) -> None:
        if len(lesson.sizes) == at:
            save_soon(tmp_path)
        if len(lesson.sizes) == at + 2:
            raise Killed

    with pytest.raises(Killed):
        train(plan, Regression(dropout=0.2, trouble=trouble, remembers=remembers))
    assert not (tmp_path / CONTROL).exists()
    lesson = Regression(seed=5, dropout=0.2, remembers=remembers)
    assert same(train(plan, lesson), straight)
    assert len(lesson.sizes) == 3 + 24 - 6 - step  # not one step is done twice


def test_what_is_kept_of_the_weights_is_renewed_before_every_epoch(tmp_path: Path) -> None:
    assert not same(train(PLAN, Regression(remembers=True)), train(PLAN, Regression()))
    lesson, seen = Regression(remembers=True), []
    lesson.trouble = lambda lesson, items: seen.append(lesson.memory.tolist())
    train(PLAN, lesson)
    steps = [seen[3 + at : 9 + at] for at in range(0, 24, 6)]  # three passes measure, an epoch has six steps
    assert all(all(one == epoch[0] for one in epoch) for epoch in steps)
    assert len({tuple(epoch[0]) for epoch in steps}) == 4


def test_a_pause_saves_waits_and_goes_on_when_the_file_is_removed(tmp_path: Path) -> None:
    plan = replace(PLAN, checkpoints=tmp_path)
    (tmp_path / CONTROL).write_text("pause\n")
    lesson = Regression()
    seen: list[tuple[bool, int]] = []

    def resume() -> None:
        seen.append(((tmp_path / "last.ckpt").exists(), len(lesson.sizes)))
        (tmp_path / CONTROL).unlink()

    timer = threading.Timer(2.0, resume)
    timer.start()
    found = train(plan, lesson)
    assert seen == [(True, 3 + 1)]  # it waited after its first step
    assert same(found, train(PLAN))


def test_a_resumed_run_keeps_the_passes_that_memory_allowed(tmp_path: Path) -> None:
    straight = train(PLAN, Regression(trouble=Full(2, calls=5)), epochs=6)
    plan = replace(PLAN, checkpoints=tmp_path)
    with pytest.raises(Killed):
        train(plan, Regression(trouble=Full(2, calls=5)), progress=killed_at(4), epochs=6)
    resumed = train(plan, epochs=6)
    assert resumed.plan.pass_items == 2
    assert same(resumed, straight)


def test_the_watcher_hears_the_plan_and_every_epoch(caplog: pytest.LogCaptureFixture) -> None:
    class Ear:
        heard: list[object] = []  # noqa: RUF012

        def planned(self, sentences: tuple[str, ...], values: dict[str, object]) -> None:
            self.heard.append((any("items per pass" in s for s in sentences), values["device"]))

        def epoch(self, number: int, metrics: dict[str, float]) -> None:
            self.heard.append((number, set(metrics)))

        def forecasts(self, dataset: object, forecast: object) -> None: ...

    with caplog.at_level(logging.INFO, "fxgpt_core.training"):
        train(replace(PLAN, watch=Ear()), epochs=2)
    names = {"train_loss", "validation_error", "learning_rate"}
    assert Ear.heard == [(True, "cpu"), (1, names), (2, names)]
    assert any("items per pass" in message for message in caplog.messages)


def test_an_interrupt_arrives_as_keyboard_interrupt() -> None:
    def interrupt(what: str, done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(PLAN, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before


def test_training_is_quiet_and_leaves_global_state_alone(capfd: pytest.CaptureFixture[str]) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    found: Trained = run_training(Regression(), Rows(1), replace(PLAN, threads=1), options(), quiet)
    assert found.best_epoch >= 0
    assert capfd.readouterr() == ("", "")
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads
