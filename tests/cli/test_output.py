"""Progress without a terminal is a few lines; tables and JSON go to stdout."""

from __future__ import annotations

import pytest

from fxgpt_pipeline.cli.output import console, line_reporter, print_json, reporter, table


def test_lines_are_throttled_but_starts_and_ends_are_kept() -> None:
    clock, lines = [0.0], []
    report = line_reporter(lines.append, now=lambda: clock[0], every=10)
    for done in range(1, 101):
        clock[0] += 1
        report("ridge fold 1/5", done, 100, note="crps 0.51")
    assert lines[0] == "ridge fold 1/5 1/100 crps 0.51"
    assert lines[-1] == "ridge fold 1/5 100/100 crps 0.51"
    assert len(lines) == 11
    report("ridge fold 1/5", 1, 100)
    assert len(lines) == 12  # begun again after its end


def test_reporter_leaves_stdout_to_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter() as progress:
        progress("features", 1, 2)
        progress("features", 2, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "features 1/2\nfeatures 2/2\n"


def test_piped_table_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 120
    console().print(table("Title [1]", ("name", "value"), [(long, 1.5), ("[b]", None)]))
    out = capsys.readouterr().out
    assert long in out
    assert "[b]" in out
    assert "Title [1]" in out


def test_json_refuses_what_json_lacks() -> None:
    with pytest.raises(ValueError):
        print_json({"skill": float("nan")})
