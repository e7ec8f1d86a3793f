"""`measure`: what one item of a lesson costs, by doing it once instead of guessing from a formula."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fxgpt_core.training.failures import is_out_of_memory
from fxgpt_core.training.lesson import Lesson, Stream
from fxgpt_core.training.options import RunOptions
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.recompute import keep, recompute
from fxgpt_core.training.work import Work

_ENDLESS = 2**50  # bytes of an item that did not fit


def measure(lesson: Lesson, stream: Stream, plan: TrainingPlan, options: RunOptions) -> Work:
    """Return the work ahead, from one item passed forward and backward on the planned device.

    Call it in a context that restores global random state; the network's weights and gradients are left as they were.
    """
    network = lesson.network.train()
    item = next(iter(stream))[:1].to(plan.device)
    blocks = lesson.blocks()
    choose = plan.device == "cpu" and plan.threads > 1 and plan.devices == 1 and plan.wishes.threads is None
    if choose:  # on a busy machine all threads together may take fifty times as long: use them for one pass only
        torch.set_num_threads(1)
    lesson.loss(item, torch.zeros(1, dtype=torch.int64))  # the first pass of a process is slow: not the one to time
    recomputed, _ = _pass(lesson, item, plan, blocks)
    kept, seconds = _pass(lesson, item, plan, ())
    alone = seconds if choose and seconds else None
    if choose:
        torch.set_num_threads(plan.threads)
        seconds = _pass(lesson, item, plan, ())[1]
    network.zero_grad(set_to_none=True)
    data = torch.cuda.memory_allocated() if plan.device == "cuda" else 0
    return Work(
        items=stream.items,
        epochs=options.epochs,
        parameters=sum(p.numel() for p in network.parameters()),
        item_bytes=kept,
        item_bytes_recomputed=recomputed,
        item_seconds=seconds,
        batch=stream.batch,
        data_bytes=data,
        alone_seconds=alone,
    )


def _pass(lesson: Lesson, item: Tensor, plan: TrainingPlan, blocks: Sequence[nn.Module]) -> tuple[int, float]:
    """Return the bytes kept for the backward pass of one item, and the seconds of both passes."""
    weights = {p.untyped_storage().data_ptr() for p in lesson.network.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(plan.precision)
    recompute(blocks)
    try:
        began = time.perf_counter()
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast(plan.device, dtype=half, enabled=half is not None),
        ):
            loss = lesson.loss(item, torch.zeros(1, dtype=torch.int64))
        loss.backward()  # type: ignore[no-untyped-call]
        if plan.device == "cuda":
            torch.cuda.synchronize()
        # Backward passes hold one gradient beside each activation that they are about to release.
        return 2 * sum(seen.values()), time.perf_counter() - began
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _ENDLESS, 0.0
    finally:
        keep(blocks)
