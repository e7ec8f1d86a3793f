"""SSSD from the launchpad to a served forecast: what a run shows, predictions from Python, export, MLflow's server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from fxgpt_core.common.errors import ModelError
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.serving import predict, resolve
from fxgpt_pipeline.stages import calibrated, candidate, walk_forward
from tests.pipeline.small_home import FAMILIES, SYMBOL, SmallHome, shared_home

pytestmark = pytest.mark.deep
TINY = {
    "encoder": {"channels": 8, "state": 8, "layers": 1, "heads": 2, "context": 12, "chunk": 128},
    "diffusion": {"latent": 16, "layers": 1, "embedding": 4, "samples": 60, "sampling_steps": 8},
    "training": {"epochs": 2, "segment": 128, "burn_in": 64, "batch": 3, "validation_rows": 60},
}
CHAIN = [walk_forward("sssd"), calibrated("sssd"), candidate("sssd")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallHome]:
    """A home of its own with a trained SSSD as its newest candidate."""
    base = shared_home(tmp_path_factory)
    with pytest.MonkeyPatch.context() as monkeypatch:
        home = base.clone(tmp_path_factory.mktemp("sssd")).enter(monkeypatch)
        home.configure(f"assets/{SYMBOL}.yaml", {"models": {**{name: {} for name in FAMILIES}, "sssd": TINY}})
        outcome = home.materialise(CHAIN)
        assert outcome.success, outcome.error
        yield home


def metadata(home: SmallHome, key: tuple[str, ...]) -> dict[str, Any]:
    with home.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(key))
    return dict(event.asset_materialization.metadata)


def test_a_run_shows_loss_curve_parameters_plan_and_duration(trained: SmallHome) -> None:
    for key in (walk_forward("sssd"), candidate("sssd")):
        shown = metadata(trained, key)
        assert "data:image/png;base64," in shown["loss_curve"].value
        assert shown["parameters"].value["training"]["epochs"] == 2
        assert any("CPU" in line for line in shown["plan"].value.splitlines())
        assert shown["fit_seconds"].value > 0
        assert all(fit["weights"] > 500 for fit in shown["fits"].value.values())
    folds = metadata(trained, walk_forward("sssd"))
    assert len(folds["fits"].value) == folds["folds"].value
    assert folds["epochs"].value == 2 * folds["folds"].value


def test_predict_from_python(trained: SmallHome) -> None:
    made = predict("gbp/usd", model="sssd", seed=4)
    assert made.horizons == (60, 240)
    assert made.decided_at[0] == trained.lineage().candles().known_at[-1]
    assert made.origin[0] == "live"
    assert made.model_version[0] == resolve(trained.lineage(), "sssd").label
    np.testing.assert_array_equal(predict(SYMBOL, model="sssd", seed=4).quantiles, made.quantiles)
    some = predict(SYMBOL, horizons=["4h"], model="sssd", seed=4)
    np.testing.assert_array_equal(some.quantiles[:, 0], made.quantiles[:, 1])
    finer = predict(SYMBOL, samples=500, model="sssd", seed=4)
    np.testing.assert_array_equal(finer.quantiles, made.quantiles)  # one law for all rows, which no draw moves
    with pytest.raises(ModelError, match="5 draws were asked for"):
        predict(SYMBOL, samples=5, model="sssd")


def test_a_version_is_exported(trained: SmallHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "out")
    assert run(["models", "export", SYMBOL, "sssd", "--to", target, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert {"encoder_step.onnx", "denoiser_step.onnx", "steps.json"} <= set(done["files"])
    assert max(done["differences"].values()) < 1e-4
    assert run(["models", "export", SYMBOL, "sssd", "--to", target]) == 2
    assert "is not empty" in capsys.readouterr().err


def posted(home: SmallHome, bars: int = 900) -> dict[str, Any]:
    frame = trained_candles(home, bars).to_frame().reset_index()
    frame["ts_utc"] = frame["ts_utc"].map(lambda t: t.isoformat())
    return frame[["ts_utc", "open", "high", "low", "close", "volume"]].to_dict("split", index=False)


def trained_candles(home: SmallHome, bars: int) -> Any:
    return home.lineage().candles().take(slice(-bars, None))


@pytest.mark.services
def test_mlflow_serves_it_without_network_and_says_what_eager_says(trained: SmallHome, tmp_path: Path) -> None:
    from fxgpt_core.lifecycle.bundle import load_bundle
    from fxgpt_core.lifecycle.live import forecast_candles

    version = resolve(trained.lineage(), "sssd")
    folder = trained.lineage().workspace.registry.folder(version)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    closed = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    environment = {**trained.subprocess_environment(), **closed, "MLFLOW_TRACKING_URI": trained.home.mlflow_uri}
    model = f"models:/fxgpt.{SYMBOL}/{version.version}"
    command = ["models", "serve", "-m", model, "--env-manager", "local", "-p", str(port), "-h", "127.0.0.1"]
    log = (tmp_path / "serve.log").open("wb")
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("mlflow")), *command],
        env={**environment, "PATH": f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"},
        stdout=log, stderr=log, cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    try:
        split = posted(trained)
        body = json.dumps({"dataframe_split": split, "params": {"seed": 3}}).encode()
        rows = json.loads(_answer(f"http://127.0.0.1:{port}", body, server, tmp_path / "serve.log"))["predictions"]
    finally:
        _ended(server)
    import pandas as pd

    frame = pd.DataFrame(split["data"], columns=split["columns"])
    expected = forecast_candles(load_bundle(folder), frame, None, seed=3).to_frame()
    assert [row["horizon"] for row in rows] == [60, 240]
    for name in ("mean", "std", *(name for name in expected if name.startswith("q"))):
        np.testing.assert_allclose([row[name] for row in rows], expected[name], rtol=1e-4, atol=1e-7)


def _answer(url: str, body: bytes, server: subprocess.Popen[bytes], log: Path) -> str:
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 600
    while time.monotonic() < until and server.poll() is None:
        try:
            opener.open(f"{url}/ping", timeout=5).close()
        except OSError:
            time.sleep(0.5)
            continue
        return str(opener.open(request, timeout=600).read().decode())
    raise AssertionError(f"the server did not come up:\n{log.read_text()[-3000:]}")


def _ended(server: subprocess.Popen[bytes]) -> None:
    import os
    import signal

    os.killpg(server.pid, signal.SIGTERM)  # a session of its own, made above
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)
