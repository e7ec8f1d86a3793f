"""`fxgpt dev`: Dagster webserver and daemon, and MLflow, over one state directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_core.store.paths import CHECKOUT

_GRACE_SECONDS = 20


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI.")
@click.option("--mlflow-port", default=5000, show_default=True, help="Port of the MLflow UI.")
@click.option("--no-mlflow", is_flag=True, help="Start Dagster alone.")
def dev(host: str, port: int, mlflow_port: int, no_mlflow: bool) -> None:
    """Serve the UIs and run schedules and sensors until Ctrl-C."""
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.workspace import Workspace

    wanted = [("Dagster", port, "--port")] + ([] if no_mlflow else [("MLflow", mlflow_port, "--mlflow-port")])
    for name, number, option in wanted:
        _require_free(host, number, name, option)
    workspace = Workspace.from_environment()
    prepare(workspace)
    environment = _environment(workspace.home.root, workspace.config_dir)
    commands = {"Dagster": dagster_command(host, port)}
    if not no_mlflow:
        commands["MLflow"] = mlflow_command(host, mlflow_port, workspace.home.mlflow_uri, workspace.home.artifacts)
    click.echo(f"Dagster  http://{host}:{port}    assets, runs, schedules, sensors")
    if not no_mlflow:
        click.echo(f"MLflow   http://{host}:{mlflow_port}    training runs and the model registry")
    click.echo(f"State    {workspace.home.root}    (Ctrl-C stops both)")
    _supervise(commands, environment)


def dagster_command(host: str, port: int) -> list[str]:
    """Return the command that runs webserver, daemon and one shared code server."""
    workspace = str(CHECKOUT / "workspace.yaml")
    return [_script("dagster"), "dev", "--workspace", workspace, "--host", host, "--port", str(port)]


def mlflow_command(host: str, port: int, uri: str, artifacts: Path) -> list[str]:
    """Return the command that serves MLflow with one worker over the same store."""
    return [
        _script("mlflow"), "server", "--backend-store-uri", uri, "--default-artifact-root", artifacts.as_uri(),
        "--host", host, "--port", str(port), "--workers", "1",
    ]  # fmt: skip


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _environment(home: Path, config: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "FXGPT_HOME": str(home),
        "FXGPT_CONFIG_DIR": str(config),
        # The job executor of MLflow is unused here and costs over a gigabyte of worker processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _require_free(host: str, port: int, name: str, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInputError(
                f"{name} cannot listen on {host}:{port} ({error.strerror}): choose another with {option}."
            ) from error


def _supervise(commands: Mapping[str, list[str]], environment: Mapping[str, str]) -> None:
    """Run the commands until one ends or a signal comes, then stop all of them and their children."""
    children = {
        name: subprocess.Popen(command, env=environment, cwd=CHECKOUT, start_new_session=True)
        for name, command in commands.items()
    }
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    ended = ""
    try:
        while not stopping and not ended:
            time.sleep(0.2)
            ended = next((name for name, child in children.items() if child.poll() is not None), "")
    finally:
        for child in children.values():
            _stop(child)
        for number, handler in previous.items():
            signal.signal(number, handler)
    if ended and not stopping:
        raise FxgptError(f"{ended} stopped by itself with code {children[ended].returncode}; its messages are above.")


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, and after a grace period end its whole session."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
