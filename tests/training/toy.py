"""A small lesson: regress noisy labels on rows that lie on the device, with dropout and per-item noise on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from fxgpt_core.ssm.groups import parameter_groups
from fxgpt_core.training.options import RunOptions
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.run import Trained, run_training

ROWS = 48


class Net(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(dropout))
        self.last = nn.Linear(16, 1)
        self.log_dt = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))[:, 0] * self.log_dt.exp()


class Rows:
    """A stream of row indices, shuffled per epoch."""

    def __init__(self, seed: int, batch: int | None = 8) -> None:
        self.seed, self.batch, self.epoch = seed, batch, int
        self.served: list[list[int]] = []

    @property
    def items(self) -> int:
        return ROWS

    @property
    def batches(self) -> int:
        return -(-ROWS // self.batch) if self.batch else 1

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed * 1000 + self.epoch())
        for part in torch.randperm(ROWS, generator=generator).split(self.batch or ROWS):
            self.served.append(part.tolist())
            yield part


@dataclass
class Regression:
    """Labels weigh 0 to 2; `trouble(lesson, items)` is called before every loss and may raise.

    Where it `remembers`, predictions lean on the weights with which the epoch began, as carried states do.
    """

    seed: int = 0
    dropout: float = 0.0
    trouble: Callable[[Regression, Tensor], None] | None = None
    remembers: bool = False
    metric: str = "validation_error"
    network: nn.Module = field(init=False)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        data = torch.Generator().manual_seed(0)
        self.x, self.y = torch.randn(ROWS, 6, generator=data), torch.randn(ROWS, generator=data)
        self.mass = torch.rand(ROWS, generator=data) * 2
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.network = Net(self.dropout)
        self.memory = torch.zeros(6)

    def loss(self, items: Tensor, keys: Tensor) -> Tensor:
        self.sizes.append(len(items))
        if self.trouble is not None:
            self.trouble(self, items)
        noise = torch.stack([torch.randn(6, generator=torch.Generator().manual_seed(int(k))) for k in keys])
        guess = self.network(self.x[items] + 0.1 * noise.to(self.x)) + self.x[items] @ self.memory
        error = (guess - self.y[items]).square()
        return (error * self.mass[items]).sum() / self.mass[items].sum()

    def renew(self) -> bool:
        if self.remembers:
            self.memory = self.network.first[0].weight.detach().mean(dim=0)
        return self.remembers

    def weights(self, items: Tensor) -> Tensor:
        return self.mass[items]

    def groups(self):
        return parameter_groups(self.network, lambda name: 5e-3 if name.startswith("last.") else 1e-2, 1e-3, 0.1)

    def blocks(self):
        return [self.network.first]

    def validate(self, parts: int) -> dict[str, float]:
        assert not self.network.training
        with torch.no_grad():
            return {"validation_error": float((self.network(self.x) - self.y).square().mean())}

    def to(self, device: torch.device | str) -> None:
        self.x, self.y, self.mass = self.x.to(device), self.y.to(device), self.mass.to(device)


def options(**changes: object) -> RunOptions:
    values = {"epochs": 4, "patience": 50, "min_delta": 0.0, "average_decay": 0.9, "gradient_clip": 1.0}
    return RunOptions(**{"name": "toy", "checkpoint_every": 2, "lr_min": 1e-4, **values, **changes})


def quiet(what: str, done: int, total: int, note: str = "") -> None:
    pass


def train(
    plan: TrainingPlan, lesson: Regression | None = None, stream: Rows | None = None, progress=quiet, **changes
) -> Trained:
    lesson = lesson or Regression()
    return run_training(lesson, stream or Rows(plan.seed), plan, options(**changes), progress)


def same(a: Trained, b: Trained) -> bool:
    """Whether two runs ended with the same bits."""
    return a.history == b.history and all(torch.equal(a.best[name], b.best[name]) for name in a.best)


def save_soon(folder: Path) -> None:
    """Ask for a checkpoint within the epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "control").write_text("save")
