"""The multi-timeframe encoder: dense, streamed and exported it is one function, and time only runs forwards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from sssd_data import planted
from torch import Tensor, nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.models.sssd.config import EncoderConfig
from fxgpt_core.models.sssd.encoder import Carried, Encoder
from fxgpt_core.models.sssd.inputs import Inputs, Scaling
from fxgpt_core.models.sssd.streaming import Stepper
from fxgpt_core.ssm.groups import parameter_groups

COLUMNS = {"1h": 3, "4h": 2, "1d": 2}
EVERY = (1, 4, 24)
FUSIONS = ["attention", "concat", "mlp", "conv1d"]


def encoder(fusion: str = "attention", seed: int = 0, **settings: object) -> Encoder:
    values = {"channels": 8, "state": 8, "layers": 2, "heads": 2, "context": 12, "dt_min": 0.02, "chunk": 64}
    torch.manual_seed(seed)
    return Encoder(COLUMNS, EncoderConfig.model_validate({**values, **settings, "fusion": fusion})).eval()


def history(bars: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Inputs:
    """Return hourly, 4-hour and daily random features; the slower ones are known once their last hour has closed."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(1, bars + 1)
    features = {
        code: torch.randn(bars // every, count, generator=generator, dtype=dtype)
        for (code, count), every in zip(COLUMNS.items(), EVERY, strict=True)
    }
    return Inputs(features, torch.stack([rows // every - 1 for every in EVERY], dim=1))


def streamed(network: Encoder, inputs: Inputs) -> Tensor:
    bars = len(inputs.last_known)
    return Stepper(network).follow(inputs, network.initial_state(), 0, bars)[0]


def dense(network: Encoder, inputs: Inputs) -> Tensor:
    return network.history(inputs, torch.arange(len(inputs.last_known)), piece=70)


def with_nan(inputs: Inputs, code: str, rows: slice) -> Inputs:
    values = inputs.features[code].clone()
    values[rows] = torch.nan
    return replace(inputs, features={**inputs.features, code: values})


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_dense_pass_equals_streaming_bar_by_bar(fusion: str, dtype: torch.dtype, tolerance: float) -> None:
    network, inputs = encoder(fusion).to(dtype), with_nan(history(110, dtype=dtype), "4h", slice(9, 12))
    live = streamed(network, inputs)
    torch.testing.assert_close(dense(network, inputs), live, atol=tolerance, rtol=tolerance)
    from_start = network.segments(inputs, torch.tensor([0]), 110, inputs.stretch_lengths(110, 10**6))[0]
    torch.testing.assert_close(from_start, live, atol=tolerance, rtol=tolerance)
    again = network.history(inputs, torch.arange(110), piece=33, by_recurrence=True)
    torch.testing.assert_close(again, live, atol=tolerance, rtol=tolerance)


def test_a_base_with_gaps_lets_several_slower_bars_in_at_once() -> None:
    network, whole = encoder().double(), history(200, dtype=torch.float64)
    keep = torch.cat([torch.arange(0, 50), torch.arange(90, 200)])
    inputs = Inputs({**whole.features, "1h": whole.features["1h"][keep]}, whole.last_known[keep].clone())
    inputs.last_known[:, 0] = torch.arange(len(keep))
    torch.testing.assert_close(streamed(network, inputs), dense(network, inputs), atol=1e-9, rtol=1e-9)


def test_a_state_is_stored_restored_and_goes_on_where_it_was(tmp_path: Path) -> None:
    network, inputs = encoder().double(), history(150, dtype=torch.float64)
    live = streamed(network, inputs)
    for cut in (0, 1, 77, 149):
        _, before = Stepper(network).follow(inputs, network.initial_state(), 0, cut)
        save_file(before.tensors(), tmp_path / "state.safetensors")
        state = network.initial_state().restored(load_file(tmp_path / "state.safetensors"))
        later, _ = Stepper(network).follow(inputs, state, cut, 150)
        assert torch.equal(later, live[cut:])
    by_pass = network.state_after(inputs, 76, piece=20)  # the dense pass gives the same state as 77 steps
    later, _ = Stepper(network).follow(inputs, by_pass, 77, 150)
    torch.testing.assert_close(later, live[77:], atol=1e-9, rtol=1e-9)


def test_a_stored_state_of_another_network_is_refused() -> None:
    stored = encoder().initial_state(2).tensors()
    with pytest.raises(ModelError, match=r"1h\.0 is \(2, 8, 4, 2\), not \(1, 8, 4, 2\)"):
        encoder().initial_state(1).restored(stored)
    with pytest.raises(ModelError, match=r"1d\.1, 1h\.1, 4h\.1"):
        encoder(layers=1).initial_state(2).restored(stored)
    stored["4h.1"][0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"4h\.1 is not finite"):
        encoder().initial_state(2).restored(stored)
    with pytest.raises(ModelError, match="not 5m"):
        Stepper(encoder()).step({"5m": torch.zeros(1, 3)}, encoder().initial_state())
    with pytest.raises(ModelError, match="training mode"):
        Stepper(encoder().train())


def test_symbols_stream_together_as_they_do_alone() -> None:
    network = encoder().double()
    alone = [history(60, seed=seed, dtype=torch.float64) for seed in (1, 2)]
    late = alone[1].last_known.clone()
    late[1:, 1] = alone[1].last_known[:-1, 1]  # the second symbol's 4h bars come one hour later
    alone[1] = Inputs(alone[1].features, late)
    stepper, state = Stepper(network), network.initial_state(2)
    expected = [streamed(network, inputs) for inputs in alone]
    before = torch.full((2, 3), -1)
    for row in range(60):
        known = torch.stack([inputs.last_known[row] for inputs in alone])
        bars = {
            code: torch.stack([alone[j].features[code][max(int(known[j, i]), 0)] for j in (0, 1)])
            for i, code in enumerate(COLUMNS)
        }
        context, state = stepper.step(bars, state, known > before)
        before = known
        torch.testing.assert_close(context, torch.stack([rows[row] for rows in expected]), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("fusion", ["attention", "conv1d"])
def test_exported_step_equals_eager_in_real_arithmetic(fusion: str) -> None:
    network, inputs = encoder(fusion), with_nan(history(40), "4h", slice(3, 5))
    stepper, state = Stepper(network), network.initial_state()
    flat = state.flat()
    rows = tuple(values[:1] for values in inputs.features.values())
    program = torch.export.export(stepper, (rows, torch.tensor([[True, False, True]]), flat))
    assert not any("complex" in str(node.meta.get("val", "")) for node in program.graph.nodes)
    assert not any("fft" in str(node.target) or "complex" in str(node.target) for node in program.graph.nodes)
    run = program.module()
    before = torch.full((3,), -1)
    for row in range(40):
        known = inputs.last_known[row]
        given = tuple(v[max(int(at), 0)][None] for v, at in zip(inputs.features.values(), known, strict=True))
        context, flat = run(given, (known > before)[None], flat)
        new = {code: bar for code, bar, at, old in zip(COLUMNS, given, known, before, strict=True) if at > old}
        expected, state = stepper.step(new, state)
        torch.testing.assert_close(context, expected, atol=1e-5, rtol=1e-5)
        before = known
    for exported, eager in zip(flat, state.flat(), strict=True):
        torch.testing.assert_close(exported, eager, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_late_bar_changes_nothing_but_its_own_contribution(fusion: str) -> None:
    network, inputs = encoder(fusion).double(), history(120, dtype=torch.float64)
    late = inputs.last_known.clone()
    late[1:, 1] = inputs.last_known[:-1, 1]  # every 4h bar comes one hour after its close
    delayed = Inputs(inputs.features, late)
    on_time, rows = dense(network, inputs), torch.arange(120)
    changed = (late != inputs.last_known).any(dim=1)
    assert changed.sum() == 30
    for other in (dense(network, delayed), streamed(network, delayed)):
        torch.testing.assert_close(other[~changed], on_time[~changed], atol=1e-12, rtol=1e-9)
        assert ((other[changed] - on_time[changed]).abs().amax(dim=1) > 1e-4).all()
    # Where it is late, the context is that of the old 4h encoding beside the new ones of the others.
    tokens, present = network._tokens(inputs, rows, 100, by_recurrence=False)
    stale, known_before = network._tokens(delayed, rows, 100, by_recurrence=False)
    for i in (0, 2):
        assert torch.equal(tokens[:, i], stale[:, i])
    mixed = torch.stack([tokens[:, 0], stale[:, 1], tokens[:, 2]], dim=1)
    mask = torch.stack([present[:, 0], known_before[:, 1], present[:, 2]], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(dense(network, delayed), network.fusion(mixed, mask), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_missing_timeframe_is_masked_whatever_it_holds(fusion: str) -> None:
    network, inputs = encoder(fusion).double(), history(100, dtype=torch.float64)
    gone = replace(inputs, last_known=inputs.last_known.clone())
    gone.last_known[:, 1] = -1
    expected = dense(network, gone)
    assert torch.isfinite(expected).all()
    for other in (
        with_nan(inputs, "4h", slice(None)),
        Inputs({**inputs.features, "4h": inputs.features["4h"][:0]}, gone.last_known),
        Inputs({**inputs.features, "4h": 50 * inputs.features["4h"]}, gone.last_known),
    ):
        torch.testing.assert_close(dense(network, other), expected, atol=1e-12, rtol=1e-9)
        segment = network.segments(other, torch.tensor([20]), 80, other.stretch_lengths(80, 200))[0]
        torch.testing.assert_close(segment, expected[20:], atol=1e-9, rtol=1e-9)
    assert not torch.allclose(expected, dense(network, inputs), atol=1e-3)
    nothing = replace(inputs, last_known=torch.full_like(inputs.last_known, -1))
    silent = dense(network, nothing)
    assert torch.isfinite(silent).all()
    torch.testing.assert_close(streamed(network, nothing), silent, atol=1e-12, rtol=1e-9)
    with torch.no_grad():
        noise = network.fusion(torch.randn(100, 3, 8, dtype=torch.float64), torch.zeros(100, 3, dtype=torch.bool))
    torch.testing.assert_close(noise, silent, atol=1e-12, rtol=1e-9)


def test_gradients_are_finite_where_timeframes_are_missing() -> None:
    network, inputs = encoder().train(), with_nan(history(100), "1h", slice(0, 30))
    starts = torch.tensor([0, 10])
    network.segments(inputs, starts, 60, inputs.stretch_lengths(60, 20)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_attention_says_which_timeframe_mattered_when() -> None:
    """The target is the daily feature on days when it is far from 0, else the hourly one: weights must follow."""
    torch.manual_seed(0)
    network, inputs = encoder(layers=1).train(), history(1200, seed=5)
    day = inputs.features["1d"][inputs.last_known[:, 2].clamp(min=0), 0]
    target = torch.where(day.abs() > 0.7, 3 * day, inputs.features["1h"][:, 0])
    head = nn.Linear(12, 1)
    optimiser = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=1.5e-2)
    stretches = inputs.stretch_lengths(300, 50)
    for step in range(90):
        starts = torch.tensor([(step * 131) % 850 + 24])
        loss = (head(network.segments(inputs, starts, 300, stretches))[0, :, 0] - target[starts[0] :][:300]).square()
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
    rows = torch.arange(24, 1200)
    weights = network.eval().weights(inputs, rows, 400)
    assert weights.shape == (1176, 3)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(1176))
    driven = day[rows].abs() > 0.7
    assert weights[driven, 2].mean() > weights[~driven, 2].mean() + 0.1
    early = network.weights(inputs, torch.arange(10), 400)
    assert (early[:, 2] == 0).all()  # no day has closed yet
    assert (early[:3, 0] == 1).all()
    with pytest.raises(ModelError, match=r"encoder\.fusion 'attention'"):
        encoder("mlp").weights(inputs, rows, 400)


def test_after_training_the_first_supervised_bar_has_the_context_of_the_whole_history() -> None:
    """Targets are averages over about 25 own bars of the hourly and of the 4-hour table: both stacks need memory.

    Steps as by default, so that memory starts at up to 2000 own bars: far more than any burn-in.
    """
    inputs = history(3400, seed=2)
    memory = [average(inputs.features[code][:, 0]) for code in ("1h", "4h")]
    target = torch.stack([memory[i][inputs.last_known[:, i].clamp(min=0)] for i in (0, 1)], dim=1)
    torch.manual_seed(1)
    network, head = encoder(layers=2, state=16, dt_min=1e-3).train(), nn.Linear(12, 2)
    groups = parameter_groups(nn.ModuleList([network, head]), 2e-2, 5e-3, 0.01)
    optimiser, generator = torch.optim.AdamW(groups), torch.Generator().manual_seed(3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 100, 2e-4)
    stretches, losses = inputs.stretch_lengths(256, burn_in=64), []
    assert stretches == {"1h": 256 + 64, "4h": 65 + 64, "1d": 12 + 64}  # own bars: the slow ones begin long before
    for step in range(100):
        if step % 10 == 0:
            carried = network.carry(inputs, every=64)
        starts = torch.randint(0, 2200, (3,), generator=generator)
        wanted = target[starts[:, None] + torch.arange(256)]
        loss = (head(network.segments(inputs, starts, 256, stretches, carried=carried)) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < 0.6 * float(target.var())  # without memory 0.93
    network.eval()
    starts = torch.arange(2300, 3100, 50)
    live = network.history(inputs, starts, 10**6, by_recurrence=True)

    def deviation(states: Carried | None) -> float:
        with torch.no_grad():
            own = network.segments(inputs, starts, 256, stretches, carried=states)[:, 0]
        return float(((own - live).norm(dim=1) / live.norm(dim=1)).max())

    assert deviation(carried) < 0.02  # states as old as training used them
    assert deviation(network.carry(inputs, every=64)) < 1e-4
    assert deviation(None) > 0.1  # burn-in alone


def test_no_segment_sees_what_was_before_history_began_anew() -> None:
    inputs, network = history(1200, seed=4), encoder(layers=2, dt_min=1e-3).eval()
    begins = inputs.begins((600,))
    assert begins.tolist() == [[0, 0, 0], [600, 150, 25]]
    stretches, starts = inputs.stretch_lengths(64, burn_in=64), torch.tensor([300, 600, 660, 900])
    own = begins[torch.searchsorted(torch.tensor([600]), starts, right=True)]
    other = Inputs({code: values.clone() for code, values in inputs.features.items()}, inputs.last_known)
    for code, first in zip(other.features, begins[1].tolist(), strict=True):
        other.features[code][:first] += 1.0
    for every in (None, 16):
        seen = []
        for data in (inputs, other):
            carried = None if every is None else network.carry(data, every, begins)
            with torch.no_grad():
                seen.append(network.segments(data, starts, 64, stretches, None, carried, own))
        assert torch.equal(seen[0][1:], seen[1][1:])
        assert not torch.equal(seen[0][0], seen[1][0])
    assert torch.isfinite(seen[0]).all()


def average(values: Tensor) -> Tensor:
    out, level = torch.empty_like(values), 0.0
    for i, value in enumerate(values.tolist()):
        level = 0.96 * level + 0.28 * value
        out[i] = level
    return out


def test_a_bar_without_any_known_value_reaches_the_encoder_as_missing() -> None:
    data = planted(400, seed=1)
    table = data.tables["4h"]
    values = table.values.copy()
    values[50:60] = np.nan
    values[70, 0] = np.nan
    holed = replace(data, tables={**data.tables, "4h": replace(table, values=values)})
    inputs = Inputs.build(holed, Scaling.fit(holed, np.ones(400, dtype=bool)), "cpu")
    rows = torch.isnan(inputs.features["4h"])
    assert rows[50:60].all()
    assert rows.sum() == 30


def test_an_encoder_that_reads_later_bars_cannot_be_configured() -> None:
    with pytest.raises(ValidationError, match="looks ahead"):
        EncoderConfig.model_validate({"bidirectional": True})
    with pytest.raises(ValidationError, match="context 13 is not a multiple of heads 2"):
        EncoderConfig(channels=8, heads=2, context=13)
    assert EncoderConfig(channels=8, heads=2, context=13, fusion="mlp").context == 13
