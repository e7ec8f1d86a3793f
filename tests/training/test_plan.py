import json
from dataclasses import replace
from pathlib import Path

import pytest

from fxgpt_core.training.hardware import GIB, Gpu, Hardware, read_hardware
from fxgpt_core.training.plan import TrainingPlan, plan_training
from fxgpt_core.training.wishes import Wishes
from fxgpt_core.training.work import Work, plan_work

H100 = Gpu("H100", (9, 0), 80 * GIB)
OLD = Gpu("GTX 1060", (6, 1), 6 * GIB)
MIDDLE = Gpu("T4", (7, 5), 15 * GIB)
SERVER, SMALL, DOUBLE = (
    Hardware(16, 128 * GIB, (H100,)),
    Hardware(8, 16 * GIB, (OLD,)),
    Hardware(16, 128 * GIB, (H100,) * 2),
)
LAPTOP = Hardware(2, 6 * GIB)
WORK = Work(
    items=4000,
    epochs=100,
    parameters=10_000_000,
    item_bytes=100 * 2**20,
    item_bytes_recomputed=25 * 2**20,
    item_seconds=0.01,
)


def planned(hardware: Hardware, work: Work | None = None, **wishes: object) -> TrainingPlan:
    plan = plan_training(3, hardware=hardware, wishes=Wishes.model_validate(wishes))
    return plan if work is None else plan_work(plan, work)


def said(plan: TrainingPlan, *parts: str) -> bool:
    return any(all(part in reason for part in parts) for reason in plan.reasons)


def test_a_data_centre_card_gets_bf16_compiling_flash_attention_and_a_full_batch() -> None:
    plan = planned(SERVER, WORK)
    assert (plan.device, plan.devices, plan.precision, plan.compile) == ("cuda", 1, "bf16-mixed", "default")
    assert (plan.fused, plan.recompute, plan.attention[0]) == (True, False, "flash")
    assert (plan.pass_items, plan.accumulation) == (512, 1)
    assert plan.warnings == ()
    assert said(plan, "bf16", "9.0")
    assert said(plan, "H100", "80 GiB")


def test_an_old_card_of_6_gb_trains_in_float32_with_recomputation_and_accumulation() -> None:
    plan = planned(SMALL, WORK)
    assert (plan.device, plan.precision, plan.compile, plan.recompute) == ("cuda", "32-true", None, True)
    assert plan.attention[0] == "efficient"
    assert plan.pass_items * plan.accumulation >= 256
    assert plan.accumulation > 1
    assert plan.estimate.bytes <= 0.9 * 6 * GIB
    assert said(plan, "recomputed", "below 16")
    assert said(plan, "fp32", "6.1")


def test_capability_7_mixes_in_fp16_and_a_wished_bf16_falls_back_to_it() -> None:
    middle = Hardware(8, 32 * GIB, (MIDDLE,))
    assert planned(middle).precision == "16-mixed"
    plan = planned(middle, precision="bf16")
    assert plan.precision == "16-mixed"
    assert said(plan, "instead of the wished bf16")
    assert planned(middle, precision="fp32").precision == "32-true"


def test_two_cards_share_long_work_and_the_effective_batch_stays() -> None:
    fixed = replace(WORK, batch=64)
    one, two = planned(SERVER, fixed), planned(DOUBLE, fixed)
    assert (one.devices, one.pass_items, one.accumulation) == (1, 64, 1)
    assert (two.devices, two.pass_items, two.accumulation) == (2, 32, 1)
    assert two.estimate.seconds == pytest.approx(one.estimate.seconds / 2)
    short = planned(DOUBLE, replace(fixed, epochs=1))
    assert (short.devices, short.pass_items) == (1, 64)
    assert said(short, "do not earn starting processes")
    assert planned(DOUBLE, replace(fixed, batch=1), devices=2).devices == 1


def test_two_cores_plan_one_process_in_float32_and_count_main_memory() -> None:
    plan = planned(LAPTOP, replace(WORK, batch=4))
    assert (plan.device, plan.devices, plan.threads, plan.precision, plan.compile) == ("cpu", 1, 2, "32-true", None)
    assert (plan.pass_items, plan.accumulation, plan.recompute) == (4, 1, False)
    assert plan.estimate.memory == 6 * GIB
    ranks = planned(LAPTOP, replace(WORK, batch=4), devices=2)
    assert (ranks.devices, ranks.threads, ranks.pass_items) == (2, 1, 2)
    assert said(ranks, "gloo")


def test_work_that_does_not_fit_is_recomputed_first_then_warned_about() -> None:
    tight = Hardware(2, GIB)
    recomputed = planned(tight, replace(WORK, batch=4, item_bytes=2 * GIB, item_bytes_recomputed=GIB // 2))
    assert (recomputed.recompute, recomputed.pass_items, recomputed.accumulation) == (True, 1, 4)
    assert recomputed.warnings == ()
    hopeless = planned(tight, replace(WORK, batch=4, item_bytes=2 * GIB, item_bytes_recomputed=2 * GIB))
    assert hopeless.pass_items == 1
    assert "above 90 %" in hopeless.warnings[0]
    assert "2.22 GiB" in hopeless.warnings[0]


def test_wishes_that_cannot_be_met_never_fail() -> None:
    plan = planned(LAPTOP, WORK, device="cuda", devices=8, precision="fp16", compile="on", recompute="on")
    assert (plan.device, plan.devices, plan.precision, plan.recompute) == ("cpu", 2, "32-true", True)
    assert said(plan, "although one was wished for")
    foreign = Hardware(4, 8 * GIB, (replace(OLD, usable=False),))
    assert planned(foreign).device == "cpu"
    assert said(planned(foreign), "GTX 1060", "no kernels")
    assert planned(SERVER, device="cpu").device == "cpu"
    assert planned(SERVER, compile="off").compile is None
    assert planned(SERVER, WORK, pass_items=10).pass_items == 10


def test_threads_are_used_where_they_pay() -> None:
    slow, quick = (planned(LAPTOP, replace(WORK, batch=4, alone_seconds=seconds)) for seconds in (0.018, 0.0105))
    assert (slow.threads, quick.threads) == (2, 1)
    assert said(quick, "one thread", "10 ms with one, 10 ms with 2")
    assert quick.estimate.seconds == pytest.approx(0.0105 * 4000 * 100)
    assert planned(LAPTOP, threads=1).threads == 1


def test_short_work_is_not_compiled_unless_wished() -> None:
    short = replace(WORK, epochs=1)
    assert planned(SERVER, short).compile is None
    assert planned(SERVER, short, compile="on").compile == "default"


def test_determinism_excludes_kernels_chosen_by_trial() -> None:
    assert not planned(SERVER, WORK).cudnn_benchmark
    assert planned(SERVER, WORK, deterministic=False).cudnn_benchmark
    assert planned(SERVER, replace(WORK, images=True)).channels_last


def test_this_machine_is_read_and_every_plan_is_json(tmp_path: Path) -> None:
    hardware = read_hardware()
    assert hardware.cores >= 1
    assert hardware.memory > GIB // 4
    plan = plan_training(1, tmp_path)
    assert plan.reasons
    for each in (plan, planned(SERVER, WORK), plan_training(1, accelerated=False)):
        assert json.loads(json.dumps(each.to_dict()))["precision"] == each.precision


def test_wishes_of_a_family_plan_again_but_a_fixed_plan_stays(tmp_path: Path) -> None:
    wishes = Wishes(device="cpu", devices=2)
    plan = plan_training(1, tmp_path, hardware=DOUBLE).wished(wishes)
    assert (plan.device, plan.devices, plan.seed, plan.checkpoints) == ("cpu", 2, 1, tmp_path)
    fixed = TrainingPlan(seed=7)
    assert fixed.wished(wishes) is fixed
