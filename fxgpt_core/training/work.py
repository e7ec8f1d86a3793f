"""`plan_work`: the second step of planning, once it is known how much there is to train and what an item costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fxgpt_core.training.plan import Estimate, TrainingPlan, duration

_BATCH = (256, 512)  # effective batch where the family names none
_FULL = 0.9  # share of memory above which a run is warned about, and which a pass may fill
_COMPILE_SECONDS, _LAUNCH_SECONDS = 300.0, 600.0  # work shorter than this does not earn compiling, starting processes
_RECOMPUTE_COST = 4 / 3  # one more forward pass beside forward and backward, which costs about two
_WORTH = 0.9  # several threads must take less than this share of the time of one: small products gain nothing by them
_CONTEXT = {"cuda": 600 * 2**20, "cpu": 0}  # what CUDA itself takes


@dataclass(frozen=True)
class Work:
    """How much there is to train; an item is what the family counts a batch in (a segment, a window).

    `batch`: items per optimiser step, None where the planner may choose. `item_bytes` are the activations that one
    item keeps for the backward pass, `item_bytes_recomputed` the same with recomputation; `item_seconds` is forward
    and backward of one item on the planned device. `fixed_shapes`: every pass has equal shapes; `images`: it
    convolves images. `alone_seconds` is `item_seconds` with a single CPU thread, where that was measured.
    """

    items: int
    epochs: int
    parameters: int
    item_bytes: int
    item_bytes_recomputed: int
    item_seconds: float
    batch: int | None = None
    data_bytes: int = 0
    fixed_shapes: bool = True
    images: bool = False
    alone_seconds: float | None = None


def plan_work(plan: TrainingPlan, work: Work) -> TrainingPlan:
    """Return the plan with batch, accumulation, devices, recomputation, compiling and estimate decided."""
    plan, item_seconds = _with_threads(plan, work)
    seconds = item_seconds * work.items * work.epochs
    batch, reason = _effective_batch(plan, work)
    plan = plan.because(reason)
    plan = _with_devices(plan, seconds, batch)
    if plan.compile is not None and plan.wishes.compile == "auto" and seconds < _COMPILE_SECONDS:
        plan = plan.because(f"eager: {duration(seconds)} of work do not earn a minute of compiling", compile=None)
    if plan.device == "cuda" and work.fixed_shapes and not plan.deterministic:
        plan = plan.because("cuDNN picks kernels by trial: shapes are fixed", cudnn_benchmark=True)
    if work.images and plan.device == "cuda" and plan.precision != "32-true":
        plan = plan.because("channels last: convolutions in half precision", channels_last=True)
    share = -(-batch // plan.devices)  # items of one device in an optimiser step
    plan = _with_pass(plan, work, share)
    assert plan.pass_items is not None
    slower = _RECOMPUTE_COST if plan.recompute else 1.0
    need = _bytes(plan, work, plan.pass_items)
    estimate = Estimate(seconds * slower / plan.devices, need, memory_of(plan))
    plan = replace(plan, estimate=estimate)
    if plan.hardware is None or need <= _FULL * estimate.memory:
        return plan
    warning = f"memory: {estimate}, above 90 %; a shorter segment, a smaller network or fewer columns would need less"
    return replace(plan, warnings=(*plan.warnings, warning))


def _with_threads(plan: TrainingPlan, work: Work) -> tuple[TrainingPlan, float]:
    """Return the plan with as many threads as pay, and the seconds of an item with them."""
    alone, together = work.alone_seconds, work.item_seconds
    if alone is None or plan.threads == 1:
        return plan, together
    times = f"an item takes {alone * 1e3:.0f} ms with one, {together * 1e3:.0f} ms with {plan.threads}"
    if together < _WORTH * alone:
        return plan.because(f"{plan.threads} threads: {times}"), together
    return plan.because(f"one thread: {times}", threads=1), alone


def _effective_batch(plan: TrainingPlan, work: Work) -> tuple[int, str]:
    if work.batch is not None:
        batch = min(work.batch, work.items)
        return batch, f"{batch} items per optimiser step: configured"
    low, high = _BATCH
    batch = min(max(low, min(high, _room(plan, work) * plan.devices)), work.items)
    return batch, f"{batch} items per optimiser step: as many as fit, between {low} and {high}, of {work.items}"


def _with_devices(plan: TrainingPlan, seconds: float, batch: int) -> TrainingPlan:
    if plan.devices == 1:
        return plan
    if plan.devices > batch:
        plan = plan.because(f"{batch} devices: every one needs an item of each step", devices=batch)
    if plan.wishes.devices is None and seconds < _LAUNCH_SECONDS:
        return plan.because(f"one device: {duration(seconds)} of work do not earn starting processes", devices=1)
    how = "NCCL" if plan.device == "cuda" else "gloo"
    return plan.because(f"{plan.devices} devices, data parallel over {how}") if plan.devices > 1 else plan


def _with_pass(plan: TrainingPlan, work: Work, share: int) -> TrainingPlan:
    room = _room(plan, work)
    if room < 1 and not plan.recompute and plan.wishes.recompute != "off":
        plan = plan.because("activations are recomputed: one item does not fit otherwise", recompute=True)
        room = _room(plan, work)
    fitting = max(min(room, share), 1)
    if plan.wishes.pass_items is not None:
        fitting = min(plan.wishes.pass_items, share)
    passes = -(-share // fitting)
    items = -(-share // passes)  # evenly filled passes
    why = "wished" if plan.wishes.pass_items is not None else "they fit into memory" if room >= share else "memory"
    return plan.because(
        f"{items} items per pass, {passes} passes per step: {why}", pass_items=items, accumulation=passes
    )


def _room(plan: TrainingPlan, work: Work) -> int:
    """Return how many items fit into 90 % of a device's memory at once; 0 where not even one does."""
    if plan.hardware is None:
        return work.items
    left = _FULL * memory_of(plan) - _bytes(plan, work, 0)
    return max(math.floor(left / max(_item_bytes(plan, work), 1)), 0)


def _bytes(plan: TrainingPlan, work: Work, items: int) -> int:
    # weights, gradients, two moments of AdamW, running average, best average
    return work.parameters * 4 * 6 + work.data_bytes + _CONTEXT[plan.device] + items * _item_bytes(plan, work)


def _item_bytes(plan: TrainingPlan, work: Work) -> int:
    return work.item_bytes_recomputed if plan.recompute else work.item_bytes


def memory_of(plan: TrainingPlan) -> int:
    """Return the memory (bytes) of one device of the plan; 0 where the hardware is not known."""
    if plan.hardware is None:
        return 0
    usable = [gpu.memory for gpu in plan.hardware.gpus if gpu.usable][: plan.devices]
    return min(usable) if plan.device == "cuda" and usable else plan.hardware.memory // plan.devices
