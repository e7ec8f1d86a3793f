import numpy as np
import pytest
import torch

from fxgpt_core.ssm.initialisation import diagonal, legs
from fxgpt_core.ssm.s4d import S4D
from fxgpt_core.ssm.stack import Stack


def recur(layer: S4D, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    out = []
    for bar in range(u.shape[1]):
        y, state = layer.step(u[:, bar], state)
        out.append(y)
    return torch.stack(out, dim=1), state


@pytest.mark.parametrize("kind", ["legs", "lin", "inv", "random", "real"])
@pytest.mark.parametrize("bars", [1, 7, 64, 333])
def test_convolution_chunks_and_recurrence_agree(kind: str, bars: int) -> None:
    layer = S4D(6, 16, kind, chunk=64, seed=3)
    u = torch.randn(2, bars, 6, generator=torch.Generator().manual_seed(bars))
    state = torch.randn(2, 6, 8, 2, generator=torch.Generator().manual_seed(1)) * 0.1
    by_chunks, after_chunks = layer(u, state)
    layer.chunk = 1024
    whole, after_whole = layer(u, state)
    stepped, after_steps = recur(layer, u, state)
    torch.testing.assert_close(by_chunks, whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(stepped, whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after_chunks, after_whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after_steps, after_whole, atol=1e-4, rtol=1e-4)


def test_gradients_of_both_modes_agree() -> None:
    layer = S4D(4, 8, "lin", chunk=16, seed=5)
    u = torch.randn(2, 41, 4, generator=torch.Generator().manual_seed(2))
    grads = []
    for run in (lambda: layer(u)[0], lambda: recur(layer, u, layer.initial_state(2))[0]):
        layer.zero_grad()
        run().square().mean().backward()
        grads.append({n: p.grad.clone() for n, p in layer.named_parameters()})
    for name in grads[0]:
        torch.testing.assert_close(grads[0][name], grads[1][name], atol=1e-4, rtol=1e-3, msg=name)


def test_state_carries_over_a_cut_at_any_bar() -> None:
    layer = S4D(3, 8, chunk=32, seed=1)
    u = torch.randn(1, 101, 3, generator=torch.Generator().manual_seed(4))
    whole, end = layer(u)
    for cut in (1, 31, 32, 77):
        first, state = layer(u[:, :cut])
        second, after = layer(u[:, cut:], state)
        torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(after, end, atol=1e-4, rtol=1e-4)


def test_output_equals_a_direct_simulation_in_float64() -> None:
    layer = S4D(2, 6, "inv", seed=9)
    u = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(8))
    a = (-layer.log_decay.double().exp() + 1j * layer.frequency.double()).detach().numpy()
    dt = layer.log_dt.double().exp().detach().numpy()[:, None]
    c = torch.view_as_complex(layer.readout.double()).detach().numpy()
    x, expected = np.zeros_like(a), []
    for row in u[0].double().numpy():
        x = np.exp(a * dt) * x + (np.exp(a * dt) - 1) / a * row[:, None]
        expected.append(2 * (c * x).real.sum(-1) + layer.skip.detach().double().numpy() * row)
    np.testing.assert_allclose(layer(u)[0][0].detach().numpy(), np.stack(expected), atol=1e-5)


def test_legs_has_the_decay_and_spectrum_of_the_hippo_matrix() -> None:
    size = 16
    n = np.arange(size)
    hippo = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) * (n[:, None] > n) - np.diag(n + 1.0)
    p = np.sqrt(n + 0.5)
    eigenvalues = np.linalg.eigvals(hippo + np.outer(p, p))
    expected = np.sort(eigenvalues.imag[eigenvalues.imag > 0])
    np.testing.assert_allclose(legs(size // 2).imag, expected, rtol=1e-6)
    np.testing.assert_allclose(legs(size // 2).real, -0.5)
    assert (diagonal("random", 3, 4, 0).real < 0).all()


def test_stack_is_causal_and_streams_what_it_convolves() -> None:
    torch.manual_seed(0)
    stack = Stack(5, 8, 8, 2, 0.1, chunk=32).eval()
    features = torch.randn(150, 5)
    dense = stack.over_history(features, piece=64)
    torch.testing.assert_close(stack.stream(features), dense, atol=1e-4, rtol=1e-4)
    changed = features.clone()
    changed[100:] += 10
    assert torch.equal(stack.over_history(changed, piece=64)[:64], dense[:64])
    torch.testing.assert_close(stack.over_history(changed, piece=64)[:100], dense[:100], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(stack.over_history(changed, piece=64)[100], dense[100], atol=1e-2)
