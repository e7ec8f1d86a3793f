"""`fxgpt doctor`: what this machine has and lacks, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.store.paths import Home, config_dir
from fxgpt_pipeline.cli.output import json_option, print_json

if TYPE_CHECKING:
    from fxgpt_core.training.plan import TrainingPlan

_GIB = 2**30
_MEMORY_GIB, _DISK_GIB = 8, 5  # what the default path is designed for


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `missing` is required and stops work, `note` is worth knowing; `remedy` says what to do."""

    name: str
    status: Literal["ok", "note", "missing"]
    found: str
    remedy: str = ""


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what this machine has and lacks, and how to get it; exit code 1 when something required is missing."""
    plan = _plan()
    findings = list(examine(Home.from_environment(), config_dir(), plan))
    missing = [finding for finding in findings if finding.status == "missing"]
    if as_json:
        found = [asdict(finding) for finding in findings]
        print_json({"ready": not missing, "findings": found, "plan": None if plan is None else plan.to_dict()})
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            click.echo(f"{finding.status:<8}{finding.name:<{width}}  {finding.found}{remedy}")
        for sentence in () if plan is None else plan.reasons:
            click.echo(f"{'plan':<8}{sentence}")
        click.echo(f"{len(missing)} required things are missing." if missing else "Ready.")
    if missing:
        ctx.exit(1)


def _plan() -> TrainingPlan | None:
    """Return how a model would be trained here, None where torch is missing (which is a finding of its own)."""
    from fxgpt_core.training.plan import plan_training

    try:
        return plan_training(seed=0)
    except (ImportError, OSError):
        return None


def examine(home: Home, configs: Path, plan: TrainingPlan | None) -> Iterator[Finding]:
    """Yield every finding; a look that fails is itself a finding and does not stop the others."""
    looks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("TA-Lib", _talib),
        ("sample bars", _sample),
        ("processor", _processor),
        ("memory", _memory),
        ("training", lambda: _training(plan)),
        ("state folder", lambda: _folder(home.root)),
        ("disk", lambda: _disk(home.root)),
        ("database", lambda: _database(home)),
        ("MLflow store", lambda: _mlflow(home)),
        ("configuration", lambda: _configuration(configs)),
    )
    for name, look in looks:
        try:
            yield look()
        except (FxgptError, ImportError, OSError) as error:
            yield Finding(name, "missing", " ".join(str(error).split()), "`make setup` installs every package")


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Finding("python", "ok", found)
    return Finding("python", "missing", found, "install Python 3.11 or 3.12 and run `make PYTHON=… setup`")


def _packages() -> Finding:
    """Compare every installed package with what the project asks for."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    wrong, right = [], 0
    for requirement in map(Requirement, requires("fxgpt") or []):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if requirement.specifier.contains(found, prereleases=True):
            right += 1
        else:
            wrong.append(f"{requirement.name} is {found}, wanted {requirement.specifier}")
    if wrong:
        return Finding("packages", "missing", "; ".join(wrong), "`make setup` installs the locked versions")
    return Finding("packages", "ok", f"{right} at the versions asked for")


def _talib() -> Finding:
    import talib

    count = len(talib.get_functions())  # type: ignore[no-untyped-call]
    return Finding("TA-Lib", "ok", f"{talib.__version__}, {count} functions")


def _sample() -> Finding:
    from fxgpt_core.market.providers.sample import sample_path

    return Finding("sample bars", "ok", str(sample_path()))


def _processor() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("processor", "ok" if cores >= 2 else "note", f"{cores} cores")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.total / _GIB:.1f} GiB, {memory.available / _GIB:.1f} GiB free"
    # A machine sold with 8 GB shows a little less.
    if memory.total / _GIB >= 0.9 * _MEMORY_GIB:
        return Finding("memory", "ok", found)
    return Finding("memory", "note", found, f"below the {_MEMORY_GIB} GiB designed for; keep models small")


def _training(plan: TrainingPlan | None) -> Finding:
    """Sum up the training plan: which rule decided what follows below the findings."""
    if plan is None:
        raise FxgptError("torch cannot be imported: models that learn by gradient cannot be trained.")
    found = f"{plan.devices} x {plan.device}, {plan.precision}, {plan.threads} threads"
    if plan.device != "cpu":
        return Finding("training", "ok", found)
    return Finding("training", "note", found, "everything works without a GPU, large models train slowly")


def _existing(path: Path) -> Path:
    """Return the nearest folder that exists, which is where the missing ones would be made."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _folder(root: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=_existing(root)):
            pass
    except OSError as error:
        remedy = "set FXGPT_HOME to a folder that can be written"
        return Finding("state folder", "missing", f"{root}: {error.strerror}", remedy)
    return Finding("state folder", "ok", str(root) if root.exists() else f"{root}, made at the first run")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(_existing(root)).free / _GIB
    if free >= _DISK_GIB:
        return Finding("disk", "ok", f"{free:.0f} GiB free")
    return Finding("disk", "note", f"{free:.1f} GiB free", "make room or set FXGPT_HOME to a larger disk")


def _database(home: Home) -> Finding:
    from fxgpt_core.store.database import parse_url
    from fxgpt_core.store.migrate import current, head, knows

    where = parse_url(home.database_url).render_as_string()
    revision = current(home.database_url)
    if revision == head():
        return Finding("database", "ok", f"{where} at revision {revision}")
    if revision is not None and not knows(revision):
        remedy = "update fxgpt, or point FXGPT_DATABASE_URL elsewhere"
        return Finding("database", "missing", f"{where} is at revision {revision} of a newer fxgpt", remedy)
    state = "has no tables yet" if revision is None else f"is at revision {revision}"
    return Finding("database", "note", f"{where} {state}", "`fxgpt demo` or `fxgpt dev` migrates it")


def _mlflow(home: Home) -> Finding:
    uri = home.mlflow_uri
    if not uri.startswith("sqlite:///"):
        return Finding("MLflow store", "ok", uri.split("@")[-1])
    if Path(uri.removeprefix("sqlite:///")).exists():
        return Finding("MLflow store", "ok", uri)
    return Finding("MLflow store", "note", f"{uri} does not exist yet", "`fxgpt demo` or `fxgpt dev` makes it")


def _configuration(configs: Path) -> Finding:
    from fxgpt_pipeline.cli.check import check_configuration

    report = check_configuration(configs)
    if report.problems:
        more = f" (and {len(report.problems) - 1} more)" if len(report.problems) > 1 else ""
        remedy = "correct the file; `fxgpt check config` lists everything"
        return Finding("configuration", "missing", report.problems[0] + more, remedy)
    return Finding("configuration", "ok", f"{len(report.files)} files in {configs}, assets {' '.join(report.assets)}")
