"""The `fxgpt` command: the list of verbs, and errors as one sentence with an exit code (SPEC 19).

Nothing heavy is imported here: a verb's module is imported when the verb is used.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from fxgpt_core.common.errors import FxgptError
from fxgpt_pipeline.cli.lazy import LazyGroup, Verb

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

_HERE = "fxgpt_pipeline.cli"

VERBS = {
    "demo": Verb(f"{_HERE}.demo:demo", "Run the whole lineage on the real bars that ship with the sample."),
    "dev": Verb(f"{_HERE}.dev:dev", "Serve the Dagster and MLflow UIs and run schedules and sensors."),
    "assets": Verb(f"{_HERE}.assets:assets", "List, show and add currency pairs."),
    "import": Verb(f"{_HERE}.importing:import_files", "Bring your own bars into the lake."),
    "download": Verb(f"{_HERE}.download:download_bars", "Fetch bars from a provider into the lake."),
    "quality": Verb(f"{_HERE}.quality:quality", "Judge a symbol's stored bars and write their quality page."),
    "events": Verb(f"{_HERE}.events:events", "Import and list the economic calendar."),
    "features": Verb(f"{_HERE}.features:features", "List the indicators, their columns, settings and formulas."),
    "materialize": Verb(f"{_HERE}.materialize:materialize", "Run part of a symbol's lineage through Dagster."),
    "retrain": Verb(f"{_HERE}.retrain:retrain", "Train a new candidate of a symbol."),
    "forecast": Verb(f"{_HERE}.forecast:forecast", "Show what the champion expects from here."),
    "live": Verb(f"{_HERE}.live:live", "Forecast every bar as it closes."),
    "replay": Verb(f"{_HERE}.replay:replay", "Rehearse the living system on simulated markets and a set clock."),
    "evaluate": Verb(f"{_HERE}.evaluate:evaluate", "Show scores against the best baseline."),
    "splits": Verb(f"{_HERE}.splits:splits", "Show what trains, what validates and what is tested."),
    "dashboard": Verb(f"{_HERE}.dashboard:dashboard", "Show every pair at a glance."),
    "leaderboard": Verb(f"{_HERE}.leaderboard:leaderboard", "Rank the models over all pairs."),
    "backtest": Verb(f"{_HERE}.backtest:backtest", "Show the backtest after costs."),
    "adherence": Verb(f"{_HERE}.adherence:adherence", "Show whether fills are what orders meant."),
    "portfolio": Verb(f"{_HERE}.portfolio:portfolio", "Trade all pairs on one capital."),
    "drift": Verb(f"{_HERE}.drift:drift", "Show whether the market has moved away from the training data."),
    "models": Verb(f"{_HERE}.models:models", "List, show, promote and roll back model versions."),
    "alerts": Verb(f"{_HERE}.alerts:alerts", "List alerts, send what waits, try a channel."),
    "lake": Verb(f"{_HERE}.lake:lake", "Look after the lake: what killed writers left."),
    "check": Verb(f"{_HERE}.check:check", "Check configuration, stored data and features."),
    "bench": Verb(f"{_HERE}.bench:bench", "Measure how fast this machine trains."),
    "doctor": Verb(f"{_HERE}.doctor:doctor", "Say what this machine has and lacks."),
}


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"fxgpt {version('fxgpt')}")
        ctx.exit()


@click.group(cls=LazyGroup, verbs=VERBS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks and informative logs.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Probabilistic forex forecasts: data, features, models, calibration, backtests and their upkeep.

    State lives in FXGPT_HOME (default .fxgpt in the checkout), configuration in FXGPT_CONFIG_DIR (default configs).
    Exit codes: 0 done, 1 failed, 2 bad input.
    """
    ctx.ensure_object(dict)["debug"] = debug
    level = logging.INFO if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error becomes one sentence on stderr."""
    state: dict[str, Any] = {"debug": "--debug" in arguments[:1]}
    try:
        result = cli.main(list(arguments), prog_name="fxgpt", standalone_mode=False, obj=state)
        return result if isinstance(result, int) else DONE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; run the same command again to carry on.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone; nothing more can be said, and closing must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except FxgptError as error:
        if state["debug"]:
            logging.getLogger("fxgpt").exception("Traceback of the error below")
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    except Exception as error:
        if state["debug"]:
            raise
        text = " ".join(str(error).split()) or "no message"
        click.echo(f"Unexpected {type(error).__name__}: {text} (fxgpt --debug … shows where).", err=True)
        return FAILED


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
