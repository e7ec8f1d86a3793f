"""The command itself: instant help, one-sentence errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import click
import pytest

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_pipeline.cli import main as entry
from fxgpt_pipeline.cli.lazy import Verb


def test_help_lists_every_verb_without_heavy_imports() -> None:
    code = (
        "import sys\nfrom fxgpt_pipeline.cli.main import run\ncode = run(['--help'])\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'dagster', 'torch', 'mlflow', 'sqlalchemy', 'pydantic', 'rich'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    for verb in entry.VERBS:
        assert f"\n  {verb} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["--version"], 0, "fxgpt "),
        (["demmo"], 2, "did you mean 'demo'?"),
        (["xyzzy"], 2, "known are demo, dev"),
        (["assets", "show"], 2, "Missing argument"),
        (["assets", "list", "--jsn"], 2, "--json"),
        (["assets", "show", "EURUSX"], 2, "did you mean USD?"),
    ],
)
def test_exit_codes(fxgpt: Callable[..., Any], arguments: list[str], code: int, part: str) -> None:
    answer = fxgpt(*arguments)
    assert answer.code == code
    assert part in answer.out + answer.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BadInputError("The file is empty."), 2, "Error: The file is empty."),
        (StoreError("The lake is locked."), 1, "Error: The lake is locked."),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (ValueError("two\nlines"), 1, "Unexpected ValueError: two lines"),
    ],
)
def test_errors_of_a_verb_are_one_line(
    fxgpt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setitem(entry.cli.commands, "fail", click.Command("fail", callback=fail))
    answer = fxgpt("fail")
    assert answer.code == code
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert answer.out == ""


def test_debug_shows_the_traceback(fxgpt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("inside")

    monkeypatch.setitem(entry.cli.commands, "fail", click.Command("fail", callback=fail))
    with pytest.raises(ValueError, match="inside"):
        fxgpt("--debug", "fail")


def test_verb_whose_package_is_missing_says_how_to_get_it(
    fxgpt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(entry.cli.verbs, "lost", Verb("not_an_installed_package.verb:verb", "Lost."))
    answer = fxgpt("lost")
    assert answer.code == 1
    assert "needs not_an_installed_package, which is not installed: run `make setup`" in answer.err
