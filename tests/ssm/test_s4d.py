"""S4D: three modes that agree, in values and gradients, and starting values by their published formulas."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from fxgpt_core.common.errors import ModelError
from fxgpt_core.ssm import scan as kernel
from fxgpt_core.ssm.groups import parameter_groups
from fxgpt_core.ssm.initialisation import diagonal, legs
from fxgpt_core.ssm.s4d import DYNAMICS, S4D, LayerSettings
from fxgpt_core.ssm.stack import Stack

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def layer(channels: int, state: int, kind: str = "legs", seed: int = 3, **settings: object) -> S4D:
    return S4D(channels, LayerSettings(state, kind, **settings), torch.Generator().manual_seed(seed))


def recur(s4d: S4D, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    out = []
    for bar in range(u.shape[1]):
        y, state = s4d.step(u[:, bar], state)
        out.append(y)
    return torch.stack(out, dim=1), state


def close(a: Tensor, b: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("method", ["zoh", "bilinear"])
@pytest.mark.parametrize("kind", ["legs", "lin", "inv", "random", "real"])
def test_convolution_scan_and_recurrence_agree(kind: str, method: str, dtype: torch.dtype) -> None:
    s4d = layer(6, 16, kind, discretisation=method).to(dtype)
    tolerance = TOLERANCE[dtype]
    for bars in (1, 7, 32, 130):
        u, state = random(2, bars, 6, seed=bars, dtype=dtype), 0.1 * random(2, 6, 8, 2, seed=1, dtype=dtype)
        stepped, after = recur(s4d, u, state)
        for chunk in (1, 5, 32, 100, 4096):
            s4d.chunk = chunk
            if chunk * 40 < bars:
                continue
            scanned, end = s4d.advance(u, state)
            close(scanned, stepped, tolerance)
            close(end, after, tolerance)
        close(s4d(u), recur(s4d, u, s4d.initial_state(2))[0], tolerance)


@pytest.mark.parametrize(("bars", "chunk"), [(41, 16), (41, 64), (37, 37)])
def test_gradients_of_all_modes_agree(bars: int, chunk: int) -> None:
    s4d = layer(4, 8, "lin", seed=5, chunk=chunk).double()
    start = random(2, 4, 4, 2, seed=6, dtype=torch.float64)

    def convolved(u: Tensor, state: Tensor) -> Tensor:
        return s4d(u).square().sum()

    def scanned(u: Tensor, state: Tensor) -> Tensor:
        y, after = s4d.advance(u, state)
        return y.square().sum() + after.square().sum()

    def stepped(u: Tensor, state: Tensor) -> Tensor:
        y, after = recur(s4d, u, state)
        return y.square().sum() + after.square().sum()

    def convolved_by_steps(u: Tensor, state: Tensor) -> Tensor:
        return recur(s4d, u, s4d.initial_state(2))[0].square().sum()

    for fast, slow in ((scanned, stepped), (convolved, convolved_by_steps)):
        grads = []
        for run in (fast, slow):
            u, state = random(2, bars, 4, seed=2, dtype=torch.float64).requires_grad_(), start.clone().requires_grad_()
            leaves = [u, *s4d.parameters()] + ([state] if fast is scanned else [])
            grads.append(torch.autograd.grad(run(u, state), leaves))
        for a, b in zip(*grads, strict=True):
            close(a, b, 1e-9)


@pytest.mark.parametrize("workspace", [2**21, 16])  # 16: one channel a block, made again in the backward pass
def test_gradients_are_those_of_finite_differences(workspace: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "WORKSPACE", workspace)
    s4d = layer(2, 4, "inv", seed=5, chunk=4).double()
    names = [name for name, _ in s4d.named_parameters()]

    def run(u: Tensor, state: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        given = {f"s4d.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(_Advance(s4d), given, (u, state))

    given = (random(1, 9, 2, dtype=torch.float64), random(1, 2, 2, 2, seed=1, dtype=torch.float64))
    leaves = [value.clone().requires_grad_() for value in (*given, *(p.detach() for p in s4d.parameters()))]
    assert torch.autograd.gradcheck(run, leaves)


class _Advance(torch.nn.Module):
    def __init__(self, s4d: S4D) -> None:
        super().__init__()
        self.s4d = s4d

    def forward(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.s4d.advance(u, state)


def test_state_carries_over_a_cut_at_any_bar() -> None:
    s4d = layer(3, 8, seed=1, chunk=32).double()
    u = random(1, 71, 3, seed=4, dtype=torch.float64)
    whole, end = s4d.advance(u, None)
    for cut in range(1, 71):
        first, state = s4d.advance(u[:, :cut], None)
        second, after = s4d.advance(u[:, cut:], state)
        close(torch.cat([first, second], 1), whole, 1e-10)
        close(after, end, 1e-10)


@pytest.mark.parametrize(("bars", "every"), [(70, 16), (64, 16), (5, 16), (70, 1)])
def test_states_along_the_way_are_those_of_the_recurrence(bars: int, every: int) -> None:
    torch.manual_seed(2)
    stack = Stack(3, 4, 2, LayerSettings(8)).eval().double()
    features = random(bars, 3, dtype=torch.float64)
    marks = stack.landmarks(features, every)
    states = stack.initial_states(1)
    for bar in range(bars):
        if bar % every == 0:
            for mark, state in zip(marks, states, strict=True):
                close(mark[bar // every], state[0], 1e-10)
        _, states = stack.step(features[bar : bar + 1], states)
    assert len(marks[0]) == -(-bars // every)
    at = every * ((bars - 1) // every)
    tail = stack(features[None, at:], [mark[at // every][None] for mark in marks])
    close(tail[0], stack(features[None])[0, at:], 1e-10)


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
def test_output_equals_a_direct_simulation(method: str) -> None:
    s4d = layer(2, 6, "inv", seed=9, discretisation=method).double()
    u = random(1, 50, 2, seed=8, dtype=torch.float64)
    a = (-s4d.log_decay.exp() + 1j * s4d.frequency).detach().numpy()
    dt = s4d.log_dt.exp().detach().numpy()[:, None]
    c = torch.view_as_complex(s4d.readout.detach()).numpy()
    if method == "zoh":
        turn, gain = np.exp(a * dt), (np.exp(a * dt) - 1) / a
    else:
        turn, gain = (1 + a * dt / 2) / (1 - a * dt / 2), dt / (1 - a * dt / 2)
    x, expected = np.zeros_like(a), []
    for row in u[0].numpy():
        x = turn * x + gain * row[:, None]
        expected.append(2 * (c * x).real.sum(-1) + s4d.skip.detach().numpy() * row)
    np.testing.assert_allclose(s4d(u)[0].detach().numpy(), np.stack(expected), atol=1e-11)


def test_large_states_agree_in_single_precision() -> None:
    s4d = layer(4, 512)  # the fastest mode turns by thousands of radians a bar
    u = random(1, 300, 4)
    close(s4d(u), recur(s4d, u, s4d.initial_state(1))[0], 1e-4)
    close(s4d(u), s4d.double()(u.double()).float(), 1e-4)


def test_autocast_does_not_reach_inside() -> None:
    s4d, u = layer(4, 8), random(2, 40, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = s4d.advance(u.bfloat16(), None)
        stepped, _ = s4d.step(u[:, 0].bfloat16(), s4d.initial_state(2))
    expected, after = s4d.advance(u.bfloat16().float(), None)
    assert y.dtype == state.dtype == stepped.dtype == torch.float32
    assert torch.equal(y, expected)
    assert torch.equal(state, after)


def test_input_of_another_shape_is_refused() -> None:
    for shape in ((2, 0, 4), (2, 5, 3), (5, 4)):
        with pytest.raises(ModelError, match="at least one bar"):
            layer(4, 8)(torch.zeros(shape))


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Follows how much memory live results of operations take."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel() * tensor.element_size())
        return out


@pytest.mark.parametrize("bars", [3000, 12_000])
def test_no_intermediate_holds_all_modes_at_all_bars(bars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "WORKSPACE", 2**18)  # a few channels a block
    s4d = layer(16, 512)
    u = random(1, bars, 16).requires_grad_()
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with Largest() as seen:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            y, state = s4d.advance(u, None)
        (y.sum() + state.sum()).backward()
    modes_at_all_bars = 16 * 256 * bars * 8
    assert seen.largest <= 3 * 8 * kernel.WORKSPACE
    assert seen.largest < modes_at_all_bars / 4
    assert sum(saved.values()) < 16 * (160 * 512 + 16 * bars)  # kept for the backward pass


@pytest.mark.parametrize("size", [2, 4, 16, 64, 512])
def test_legs_has_the_spectrum_of_the_hippo_matrix(size: int) -> None:
    n = np.arange(size)
    hippo = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) * (n[:, None] > n) - np.diag(n + 1.0)
    p = np.sqrt(n + 0.5)
    eigenvalues = np.linalg.eigvals(hippo + np.outer(p, p))
    expected = np.sort(eigenvalues.imag[eigenvalues.imag > 0])
    np.testing.assert_allclose(legs(size // 2).imag, expected, rtol=1e-6)
    np.testing.assert_allclose(legs(size // 2).real, -0.5)
    np.testing.assert_allclose(eigenvalues.real, -0.5, atol=1e-6)


def test_starting_values_by_hand() -> None:
    # N = 2: the matrix [[-1/2, sqrt(3)/2], [-sqrt(3)/2, -1/2]] has eigenvalues -1/2 +- i sqrt(3)/2.
    np.testing.assert_allclose(legs(1), [-0.5 + 1j * np.sqrt(3) / 2])
    rows = {kind: diagonal(kind, 2, 2)[1].numpy() for kind in ("lin", "inv", "real")}
    np.testing.assert_allclose(rows["lin"], [-0.5, -0.5 + 3.141592653589793j])  # eq. 9
    np.testing.assert_allclose(rows["inv"], [-0.5 + 3.819718634205488j, -0.5 + 0.4244131815783876j])  # eq. 8, N = 4
    np.testing.assert_allclose(rows["real"], [-1, -2])
    drawn = diagonal("random", 40, 50, torch.Generator().manual_seed(1)).numpy()
    np.testing.assert_allclose(drawn.real, -0.5)
    assert 0 <= drawn.imag.min() < 1
    assert 50 * np.pi - 1 < drawn.imag.max() < 50 * np.pi
    assert abs(drawn.imag.mean() / (25 * np.pi) - 1) < 0.05
    # S4D-Inv approximates S4D-LegS (S4D paper, conjecture 5): the fastest modes best.
    np.testing.assert_allclose(np.sort(diagonal("inv", 1, 64)[0].numpy().imag)[-4:], legs(64).imag[-4:], rtol=0.07)


def test_steps_are_drawn_log_uniformly_per_channel() -> None:
    log_dt = layer(4000, 2).log_dt.detach().numpy()
    low, high = np.log(1e-3), np.log(1e-1)
    assert low <= log_dt.min() < log_dt.max() <= high
    shares = np.histogram(log_dt, bins=8, range=(low, high))[0] / 4000
    np.testing.assert_allclose(shares, 1 / 8, atol=0.02)


def test_dynamics_have_their_own_rate_and_nothing_decays_them() -> None:
    stack = Stack(3, 4, 2, LayerSettings(8))
    groups = parameter_groups(stack, lambda name: 5e-4 if name.startswith("project") else 1e-4, 1e-3, 0.1)
    names = {id(parameter): name for name, parameter in stack.named_parameters()}
    seen = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(seen) == len(names) == sum(len(group["params"]) for group in groups)
    for name, (rate, decay) in seen.items():
        last = name.rsplit(".", 1)[-1]
        if last in DYNAMICS:
            assert (rate, decay) == (1e-3, 0.0), name
        elif last in ("bias", "skip") or "norm" in name:
            assert decay == 0, name
        else:
            assert decay == 0.1, name
    assert seen["project.weight"] == (5e-4, 0.1)
    stack.blocks[0].layer.log_dt.requires_grad_(False)
    assert sum(len(g["params"]) for g in parameter_groups(stack, 1e-4, 1e-3, 0.1)) == len(names) - 1


def test_stack_is_causal_and_streams_what_it_convolves() -> None:
    torch.manual_seed(0)
    stack = Stack(5, 8, 2, LayerSettings(8, chunk=32), 0.1).eval()
    features = random(150, 5)
    dense = stack.over_history(features, piece=64)
    close(stack.stream(features), dense, 1e-4)
    close(stack(features[None])[0], dense, 1e-4)
    for at, piece in itertools.product((0, 63, 100), (40, 64)):
        changed = features.clone()
        changed[at:] += 10
        again = stack.over_history(changed, piece=piece)
        close(again[:at], dense[:at], 1e-4)
        assert not torch.allclose(again[at], dense[at], atol=1e-2)
    assert stack.stream(features[:0]).shape == stack.over_history(features[:0], 64).shape == (0, 8)
