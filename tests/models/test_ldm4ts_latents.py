"""Latents: the project's own autoencoder, a published one, and latents computed once."""

import json

import numpy as np
import pytest
import torch
from sssd_data import planted

from fxgpt_core.common.errors import BadInputError, ModelError
from fxgpt_core.models.fit_folder import FINISHED
from fxgpt_core.models.ldm4ts import vae_files
from fxgpt_core.models.ldm4ts.latent_cache import cache_key, latents_of
from fxgpt_core.models.ldm4ts.published import PublishedAutoencoder
from fxgpt_core.models.ldm4ts.vae import SmallVae
from fxgpt_core.models.ldm4ts.vae_config import VaeConfig
from fxgpt_core.models.ldm4ts.vae_fit import METRIC, PictureLesson, fit_vae, training_windows, unexplained
from fxgpt_core.models.ldm4ts.vision_config import VisionConfig
from fxgpt_core.models.ldm4ts.windows import WindowImages, candle_series
from fxgpt_core.training.plan import TrainingPlan

CONFIG = VaeConfig(width=16, blocks=0, epochs=3, rows=400, validation_rows=64, batch=16, lr=1e-2)
TAUGHT, JUDGED = torch.arange(64, 464), torch.arange(600, 664)


def walk(bars: int = 700, seed: int = 0) -> torch.Tensor:
    steps = torch.randn(bars, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return steps.cumsum(dim=0)


def images(seed: int = 0, bars: int = 700) -> WindowImages:
    return WindowImages(walk(bars, seed), 48, VisionConfig(size=32, period=12))


@pytest.fixture(scope="module")
def fitted():
    return fit_vae(images(), TAUGHT, JUDGED, CONFIG, TrainingPlan(3))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A small autoencoder as diffusers writes one."""
    from diffusers import AutoencoderKL

    folder = tmp_path_factory.mktemp("published")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        AutoencoderKL(
            block_out_channels=(8, 8, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
            scaling_factor=0.5,
            shift_factor=0.1,
        ).save_pretrained(folder / "vae")
    return folder


def test_training_teaches_pictures(fitted):
    vae, report = fitted
    with torch.random.fork_rng():
        torch.manual_seed(3)
        untrained = SmallVae(CONFIG)
    before, after = (unexplained(each, images(), JUDGED) for each in (untrained, vae))
    assert set(after) == {"seg", "gaf", "rp"}
    assert all(after[name] < 0.5 * before[name] for name in after)
    assert report.rows == 400
    assert report.metrics[METRIC] == pytest.approx(min(report.curves[METRIC]))
    assert report.metrics["unexplained_gaf"] == pytest.approx(after["gaf"])


def test_latents_are_scaled_to_deviation_one_and_the_weights_are_frozen(fitted):
    vae = fitted[0]
    latents = latents_of(vae, images(), TAUGHT)
    assert latents.shape == (400, 4, 8, 8)
    assert float(latents.std()) == pytest.approx(1.0, abs=1e-3)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert not any(parameter.requires_grad for parameter in vae.parameters())
    assert not vae.training


def test_a_training_repeats_itself_bit_for_bit_and_follows_its_seed(fitted):
    again = fit_vae(images(), TAUGHT, JUDGED, CONFIG, TrainingPlan(3))[0]
    other = fit_vae(images(), TAUGHT, JUDGED, CONFIG, TrainingPlan(4))[0]
    assert again.identity == fitted[0].identity
    assert other.identity != fitted[0].identity


def test_an_interrupted_training_goes_on_and_ends_with_the_same_bits(fitted, tmp_path, monkeypatch):
    plan, seen, judge = TrainingPlan(3, checkpoints=tmp_path), [], PictureLesson.validate

    def stopping(lesson, parts):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return judge(lesson, parts)

    monkeypatch.setattr(PictureLesson, "validate", stopping)
    with pytest.raises(KeyboardInterrupt):
        fit_vae(images(), TAUGHT, JUDGED, CONFIG, plan)
    again, _ = fit_vae(images(), TAUGHT, JUDGED, CONFIG, plan)
    assert len(seen) == 2 + CONFIG.epochs - 1  # the first epoch is not done again
    assert again.identity == fitted[0].identity


def test_bars_after_the_last_window_change_nothing(fitted):
    longer = images(bars=900)
    longer = WindowImages(torch.cat([walk(700), 50 + walk(200, 9)]), longer.length, longer.config)
    assert fit_vae(longer, TAUGHT, JUDGED, CONFIG, TrainingPlan(3))[0].identity == fitted[0].identity


def test_gradients_pass_through_decoding(fitted):
    latents = torch.zeros(2, 4, 8, 8, requires_grad=True)
    fitted[0].decode(latents).square().mean().backward()
    assert (latents.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_saved_and_read_it_is_the_same(fitted, tmp_path):
    vae = fitted[0]
    vae_files.write(tmp_path, vae, images().config, images().length)
    back = vae_files.read(tmp_path)
    assert back.identity == vae.identity
    assert torch.equal(back.encode(images()(JUDGED)), vae.encode(images()(JUDGED)))
    assert vae_files.describe(tmp_path)["vision"]["size"] == 32


def test_damaged_files_are_refused(fitted, tmp_path):
    with pytest.raises(ModelError, match=r"vae\.json is missing"):
        vae_files.read(tmp_path)
    vae_files.write(tmp_path, fitted[0], images().config, images().length)
    weights = tmp_path / "vae.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match=r"checksum differs"):
        vae_files.read(tmp_path)
    (tmp_path / "vae.json").write_text(json.dumps({"kind": "sssd"}))
    with pytest.raises(ModelError, match=r"holds 'sssd'"):
        vae_files.read(tmp_path)


def test_a_finished_training_is_loaded_and_another_is_not(tmp_path, monkeypatch):
    plan, short = TrainingPlan(3, checkpoints=tmp_path), CONFIG.model_copy(update={"epochs": 1})
    first, _ = fit_vae(images(), TAUGHT, JUDGED, short, plan)
    assert (tmp_path / FINISHED / "vae.safetensors").is_file()
    steps = []
    taught = PictureLesson.loss
    monkeypatch.setattr(PictureLesson, "loss", lambda self, *a: steps.append(1) or taught(self, *a))
    again, report = fit_vae(images(), TAUGHT, JUDGED, short, plan)
    assert again.identity == first.identity
    assert "loaded from a finished fit" in report.notes
    assert not steps
    other, _ = fit_vae(images(seed=1), TAUGHT, JUDGED, short, plan)
    assert steps
    assert other.identity != first.identity


def test_training_windows_are_whole_and_belong_to_the_split():
    dataset = planted(600, 0)
    taught, judged = training_windows(dataset, 100)
    assert taught[0] == 99
    assert set(judged) == set(np.flatnonzero(dataset.split.validation.any(axis=1)))
    assert not set(taught) & set(judged)
    assert dataset.known_at[max(taught.max(), judged.max())] <= dataset.split.trained_until
    with pytest.raises(ModelError, match=r"no training labels with 550 bars before"):
        training_windows(dataset, 550)


def test_a_published_autoencoder_encodes_by_its_own_factors(published):
    from diffusers import AutoencoderKL

    latents = PublishedAutoencoder(str(published / "vae"))
    drawn = images()(JUDGED[:3])
    mean = AutoencoderKL.from_pretrained(published / "vae").encode(drawn).latent_dist.mean
    assert (latents.channels, latents.factor) == (4, 4)
    assert torch.allclose(latents.encode(drawn), (mean - 0.1) * 0.5, atol=1e-6)
    assert latents.decode(latents.encode(drawn)).shape == drawn.shape
    start = torch.zeros(1, 4, 8, 8, requires_grad=True)
    latents.decode(start).sum().backward()
    assert start.grad.abs().sum() > 0
    assert not latents.train().training


def test_a_published_autoencoder_is_found_by_its_subfolder_and_known_by_its_weights(published):
    latents = PublishedAutoencoder(str(published), "vae")
    assert latents.identity == PublishedAutoencoder(str(published / "vae")).identity
    before = latents.identity
    with torch.no_grad():
        next(latents.autoencoder.parameters()).add_(1.0)
    latents._hash = None
    assert latents.identity != before


def test_an_autoencoder_that_is_not_there_is_told_by_name(published, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"There is no folder .*/nowhere to read an autoencoder from"):
        PublishedAutoencoder(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match=r"Cannot read the autoencoder .*: .*check latents\.subfolder"):
        PublishedAutoencoder(str(published))
    with pytest.raises(ModelError, match=r"Cannot read the autoencoder nobody/nothing: .*set latents\.download"):
        PublishedAutoencoder("nobody/nothing")


def test_pictures_that_do_not_divide_are_refused(fitted, published):
    for latents in (fitted[0], PublishedAutoencoder(str(published / "vae"))):
        with pytest.raises(BadInputError, match=r"shrinks by 4: expected"):
            latents.encode(torch.zeros(1, 3, 34, 34))


def test_latents_are_computed_once_and_belong_to_windows_and_weights(fitted, tmp_path, monkeypatch):
    vae, bars = fitted[0], TAUGHT[:100]
    first = latents_of(vae, images(), bars, tmp_path, piece=32)
    assert torch.allclose(first, vae.encode(images()(bars)), atol=1e-5)
    monkeypatch.setattr(SmallVae, "encode", None)  # not asked again
    assert torch.equal(latents_of(vae, images(), bars, tmp_path), first)
    other = SmallVae(CONFIG)
    keys = {
        cache_key(vae, images(), bars),
        cache_key(vae, images(), bars + 1),
        cache_key(vae, images(seed=1), bars),
        cache_key(other, images(), bars),
    }
    assert len(keys) == 4


def test_a_damaged_cache_is_made_again(fitted, tmp_path):
    first = latents_of(fitted[0], images(), JUDGED, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"cut")
    assert torch.equal(latents_of(fitted[0], images(), JUDGED, tmp_path), first)


def test_candles_become_logarithms_with_the_last_known_count():
    dataset = planted(50, 0)
    count = np.full(50, np.nan)
    count[[2, 5]] = 10.0, 20.0
    candles = dataset.candles
    object.__setattr__(candles, "volume", count)
    series = candle_series(candles)
    assert series.shape == (50, 5)
    assert series[:, 3] == pytest.approx(np.log(1.1))
    assert series[:7, 4] == pytest.approx(np.log1p([0, 0, 10, 10, 10, 20, 20]))


def test_windows_end_with_their_bar_and_repeat_the_first_before_history():
    series = torch.arange(10, dtype=torch.float64)[:, None]
    windows = WindowImages(series, 4, VisionConfig()).windows(torch.tensor([1, 9]))
    assert windows[..., 0].tolist() == [[0, 0, 0, 1], [6, 7, 8, 9]]
    with pytest.raises(BadInputError, match=r"expected float64"):
        WindowImages(series.float(), 4, VisionConfig())
