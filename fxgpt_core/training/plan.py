"""`TrainingPlan`: device, precision, batch and threads, decided once from hardware, wishes and work (SPEC 17).

Planning has two steps, since the device must be known before there is a model to measure: `plan_training` decides all
that hardware and wishes decide, and `plan_work` adds what depends on the size of the work. The hardware
decides how the effective batch is cut, never how large it is, so that one configuration learns the same everywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fxgpt_core.training.hardware import GIB, Gpu, Hardware, read_hardware
from fxgpt_core.training.watching import Watcher, unwatched
from fxgpt_core.training.wishes import Wishes

_ANYTHING = Wishes()
_SMALL_GPU = 16 * GIB  # below this much memory activations are recomputed


@dataclass(frozen=True)
class Estimate:
    """Expected `seconds` until the last epoch (early stopping ends sooner), peak `bytes` per device, of `memory`."""

    seconds: float
    bytes: int
    memory: int

    def __str__(self) -> str:
        share = f", {self.bytes / self.memory:.0%} of the memory of a device" if self.memory else ""
        return f"at most {duration(self.seconds)}, {self.bytes / GIB:.2f} GiB{share}"


@dataclass(frozen=True)
class TrainingPlan:
    """What a `Forecaster.fit` may use; `reasons` and `warnings` say why and what to expect, for people.

    `device` is a torch device type, `devices` how many of them; `precision` a Lightning precision string; `seed` feeds
    every random draw; `checkpoints` is the folder for resumable state (None: nothing is kept). `pass_items` items go
    through a device at once, `accumulation` such passes and all devices make up one optimiser step. `compile` is the
    torch.compile mode or None, `attention` the kernels in order of preference (empty: torch chooses). `watch` hears
    of epochs and forecasts.
    """

    seed: int
    device: str = "cpu"
    precision: str = "32-true"
    threads: int = 1
    checkpoints: Path | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    devices: int = 1
    compile: str | None = None
    fused: bool = True
    attention: tuple[str, ...] = ()
    recompute: bool = False
    deterministic: bool = True
    cudnn_benchmark: bool = False
    channels_last: bool = False
    pass_items: int | None = None
    accumulation: int = 1
    estimate: Estimate | None = None
    hardware: Hardware | None = None
    wishes: Wishes = _ANYTHING
    watch: Watcher = unwatched

    def wished(self, wishes: Wishes) -> TrainingPlan:
        """Return the plan for `wishes`; a plan made without hardware (a fixed one) is returned as it is."""
        if self.hardware is None or wishes == self.wishes:
            return self
        return _for_machine(
            TrainingPlan(self.seed, checkpoints=self.checkpoints, watch=self.watch), self.hardware, wishes
        )

    def because(self, reason: str, **changes: Any) -> TrainingPlan:
        """Return a changed plan with one more reason."""
        return replace(self, reasons=(*self.reasons, reason), **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        kept = {name: value for name, value in vars(self).items() if name not in ("watch", "wishes", "hardware")}
        kept["checkpoints"] = None if self.checkpoints is None else str(self.checkpoints)
        kept["estimate"] = None if self.estimate is None else asdict(self.estimate)
        kept["hardware"] = None if self.hardware is None else asdict(self.hardware)
        return {**kept, "wishes": self.wishes.model_dump(mode="json")}


def plan_training(
    seed: int,
    checkpoints: Path | None = None,
    accelerated: bool = True,
    *,
    hardware: Hardware | None = None,
    wishes: Wishes | None = None,
    watch: Watcher = unwatched,
) -> TrainingPlan:
    """Return the plan for `hardware`, by default this machine.

    `accelerated=False` is for families that never use a device: torch is not even imported.
    """
    machine = hardware if hardware is not None else read_hardware(accelerated)
    if not accelerated:
        why = f"{machine.cores} CPU threads: this family uses no device"
        return TrainingPlan(
            seed, threads=machine.cores, checkpoints=checkpoints, reasons=(why,), hardware=replace(machine, gpus=())
        )
    return _for_machine(TrainingPlan(seed, checkpoints=checkpoints, watch=watch), machine, wishes or Wishes())


def _for_machine(plan: TrainingPlan, machine: Hardware, wishes: Wishes) -> TrainingPlan:
    gpus, why = _chosen_gpus(machine, wishes)
    plan = replace(plan, hardware=machine, wishes=wishes, deterministic=wishes.deterministic, reasons=why)
    if not gpus:
        return _on_processor(plan, machine, wishes)
    gpu = min(gpus, key=lambda each: (each.capability, each.memory))  # the weakest sets the pace of all
    precision, reason = _precision(gpu, wishes)
    plan = plan.because(reason, device="cuda", devices=len(gpus), precision=precision, threads=machine.cores)
    recompute = gpu.memory < _SMALL_GPU if wishes.recompute == "auto" else wishes.recompute == "on"
    size, did = f"{gpu.memory / GIB:.0f} GiB of device memory", "recomputed" if recompute else "kept"
    rule = "wished" if wishes.recompute != "auto" else f"{size} is {'below' if recompute else 'at least'} 16"
    plan = plan.because(f"activations are {did}: {rule}", recompute=recompute)
    mode, reason = _compile_mode(gpu, wishes)
    plan = plan.because(reason, compile=mode)
    kernels = ("flash", "efficient", "math") if gpu.capability >= (8, 0) else ("efficient", "math")
    held = f"capability {_dotted(gpu)} is {'at least' if gpu.capability >= (8, 0) else 'below'} 8.0"
    plan = plan.because(f"attention by {kernels[0]} kernels where they fit: {held}", attention=kernels)
    if precision == "16-mixed":
        return plan.because("AdamW by single operations: a fused one would unscale fp16 after clipping", fused=False)
    return plan.because("fused AdamW: one kernel for all parameters")


def _chosen_gpus(machine: Hardware, wishes: Wishes) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    why = [f"{gpu.name} is left out: this torch has no kernels for it" for gpu in machine.gpus if not gpu.usable]
    gpus = tuple(gpu for gpu in machine.gpus if gpu.usable)
    if wishes.device == "cpu":
        return (), (*why, "CPU: wished")
    if not gpus:
        wanted = " although one was wished for" if wishes.device == "cuda" else ""
        return (), (*why, f"CPU: no CUDA device that can be used{wanted}")
    count = min(wishes.devices or len(gpus), len(gpus))
    if wishes.devices is not None and wishes.devices > len(gpus):
        why.append(f"{wishes.devices} devices were wished for, {len(gpus)} can be used")
    names = ", ".join(f"{gpu.name} ({_dotted(gpu)}, {gpu.memory / GIB:.0f} GiB)" for gpu in gpus[:count])
    return gpus[:count], (*why, f"CUDA: {names}")


def _on_processor(plan: TrainingPlan, machine: Hardware, wishes: Wishes) -> TrainingPlan:
    devices = min(wishes.devices or 1, machine.cores)
    threads = wishes.threads or max(machine.cores // devices, 1)
    ranks = f"{devices} processes of {threads} threads: wished" if devices > 1 else f"{threads} threads in one process"
    plan = plan.because(ranks, device="cpu", devices=devices, threads=threads)
    if wishes.precision == "bf16":
        plan = plan.because("bf16 on the CPU: wished", precision="bf16-mixed")
    else:
        wanted = ", fp16 was wished for" if wishes.precision == "fp16" else ""
        plan = plan.because(f"float32: processors gain nothing by half precision{wanted}")
    mode = "default" if wishes.compile == "on" else None
    reason = "compiled: wished" if mode else "eager: on a CPU, compiling costs more than it saves"
    plan = plan.because(reason, compile=mode).because("fused AdamW: one pass over all parameters")
    recompute = wishes.recompute == "on"
    return plan.because("activations are recomputed: wished", recompute=True) if recompute else plan


def _precision(gpu: Gpu, wishes: Wishes) -> tuple[str, str]:
    best = "bf16" if gpu.capability >= (8, 0) else "fp16" if gpu.capability >= (7, 0) else "fp32"
    order = ["fp32", "fp16", "bf16"]
    wanted = best if wishes.precision == "auto" else wishes.precision
    chosen = wanted if order.index(wanted) <= order.index(best) else best
    names = {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}
    rule = f"capability {_dotted(gpu)} (fp16 from 7.0, bf16 from 8.0)"
    if wishes.precision == "auto":
        return names[chosen], f"{chosen}: {rule}"
    return names[
        chosen
    ], f"{chosen}: wished" if chosen == wanted else f"{chosen} instead of the wished {wanted}: {rule}"


def _compile_mode(gpu: Gpu, wishes: Wishes) -> tuple[str | None, str]:
    if wishes.compile == "off":
        return None, "eager: wished"
    if gpu.capability < (7, 0):
        return None, f"eager: the compiler needs capability 7.0, the card has {_dotted(gpu)}"
    return "default", "compiled: wished" if wishes.compile == "on" else "compiled: capability is at least 7.0"


def _dotted(gpu: Gpu) -> str:
    return ".".join(map(str, gpu.capability))


def duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
