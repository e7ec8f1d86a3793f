"""The portfolio: every enabled pair by its champion's forecasts, traded on one capital."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fxgpt_core.backtest.adapter import Broker, prepare, simulated
from fxgpt_core.backtest.book import make_book
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.luck import Luck, judge, trial_of, verdict
from fxgpt_core.backtest.portfolio import portfolio_book
from fxgpt_core.backtest.random_entries import RandomEntries, random_entries
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.backtest.scrutiny import RANDOM_DRAWS
from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.evaluation.archive import CALIBRATED, read_span
from fxgpt_core.market.candles import Candles
from fxgpt_core.reports.portfolio_page import render_portfolio
from fxgpt_core.store.asset_config import Costs
from fxgpt_core.store.documents import write_atomically
from fxgpt_core.store.trials import count_trial, counted_trials
from fxgpt_pipeline.brokers import broker_of
from fxgpt_pipeline.evaluating import keep_tables
from fxgpt_pipeline.settings import Settings, load_settings
from fxgpt_pipeline.stages import calibrated
from fxgpt_pipeline.workspace import Workspace

NAME = "portfolio"
ALL = "ALL"
"""Where a symbol's name would stand in the lake and among documents."""
_CURVE_POINTS = 500


@dataclass(frozen=True)
class Member:
    """One pair of the portfolio: what is traded, and whose forecasts."""

    symbol: str
    family: str
    candles: Candles
    forecast: Forecast
    costs: Costs


@dataclass(frozen=True)
class Portfolio:
    """A traded portfolio; `left_out`: symbol -> why it takes no part; `page`: its report.

    `luck` is by every portfolio and every strategy of its pairs that was counted on the span, `random` what as many
    random entries under the same limits earn; both None where nothing was traded.
    """

    result: BacktestResult
    members: tuple[Member, ...]
    left_out: dict[str, str]
    page: Path
    luck: Luck | None
    random: RandomEntries | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values: the result's summary and what each pair did."""
        return {
            **self.result.summary(),
            "members": {member.symbol: member.family for member in self.members},
            "left_out": self.left_out,
            "pairs": pairs_of(self.result),
            "luck": None if self.luck is None else self.luck.to_dict(),
            "random_entries": None if self.random is None else self.random.to_dict(),
            "verdict": verdict(self.luck, None if self.random is None else self.random.p_return),
        }


def trade_portfolio(workspace: Workspace, family: str | None = None) -> Portfolio:
    """Trade all enabled pairs on one capital; stores summary, trades, orders, fills and the page.

    Each pair is traded by its champion's calibrated out-of-sample forecasts, or those of `family`, in alphabetical
    order, with its own costs and the common `backtest` and `portfolio` settings. Raises BadInputError when no pair can
    be traded.
    """
    settings = load_settings(workspace.config_dir)
    members, left_out = _members(workspace, settings.backtest, family)
    if not members:
        why = " ".join(f"{symbol}: {reason}" for symbol, reason in left_out.items()) or "No pair is configured."
        raise BadInputError(f"No pair can be traded in a portfolio. {why}")
    broker = broker_of(workspace.lineage(members[0].symbol))
    parts = [(member.candles, member.forecast, member.costs) for member in members]
    book = portfolio_book(parts, settings.backtest, settings.portfolio, broker)
    forecasts, costs = [member.forecast for member in members], [member.costs for member in members]
    result = simulated(book, forecasts, settings.backtest, costs, settings.seed)
    made_at = workspace.clock.now().strftime("%Y-%m-%d %H:%M UTC")
    families = {member.symbol: member.family for member in members}
    text = render_portfolio(result, families, left_out, pairs_of(result), settings.portfolio.model_dump(), made_at)
    page = write_atomically(workspace.home.reports / "portfolio.html", text)
    random = random_entries(book, result, settings.backtest, RANDOM_DRAWS, settings.seed)
    luck = _count(workspace, settings, members, result)
    portfolio = Portfolio(result, tuple(members), left_out, page, luck, random)
    _store(workspace, portfolio)
    return portfolio


def _count(workspace: Workspace, settings: Settings, members: list[Member], result: BacktestResult) -> Luck | None:
    """Count the portfolio as a trial, limits and every pair's forecasts included, and judge it by all that were.

    Other portfolios count whatever their pairs, and so do the strategies of its pairs, of which champions were chosen.
    """
    recipes = {m.symbol: workspace.lineage(m.symbol).recipe(calibrated(m.family)) for m in members}
    recipe = stable_hash({"recipes": recipes, "limits": settings.portfolio.model_dump(mode="json")})
    own = trial_of(result, recipe, settings.backtest)
    count_trial(workspace.database, own, workspace.clock.now())
    tried = counted_trials(workspace.database, None, own.start, own.end)
    return judge(own, [trial for trial in tried if "+" in trial.symbol or trial.symbol in recipes])


def pairs_of(result: BacktestResult) -> dict[str, dict[str, Any]]:
    """Return what each pair contributed: trades, gross and net profit, and its entries cut and refused by cause."""
    entries = result.orders[result.orders["purpose"] == "entry"]
    out = {}
    for symbol in result.symbol.split("+"):
        mine, asked = result.trades[result.trades["symbol"] == symbol], entries[entries["symbol"] == symbol]
        limited = asked[asked["limited_by"] != ""]
        out[symbol] = {
            "trades": len(mine),
            "gross": float(mine["gross_pnl"].sum()),
            "net": float(mine["pnl"].sum()),
            "cut": int(((limited["status"] == "sent") & (limited["units"] < limited["wanted"])).sum()),
            "refused": int((limited["status"] != "sent").sum()),
            "causes": dict(Counter(cause.partition(" ")[0] for cause in limited["limited_by"])),
        }
    return out


def _members(
    workspace: Workspace, config: BacktestConfig, family: str | None
) -> tuple[list[Member], dict[str, str]]:  # fmt: skip
    """Return the pairs that can be traded together, and why the others cannot."""
    found: list[Member] = []
    left_out: dict[str, str] = {}
    for symbol, asset in sorted(workspace.assets.items()):
        if not asset.enabled:
            continue
        try:
            found.append(_member(workspace, symbol, config, family))
        except FxgptError as error:
            left_out[symbol] = str(error)
    bars = Counter(member.candles.timeframe for member in found)
    usual = max(bars, key=lambda bar: (bars[bar], bar.minutes)) if bars else None
    for member in [member for member in found if member.candles.timeframe != usual]:
        left_out[member.symbol] = f"Its bars are {member.candles.timeframe}, those of the portfolio {usual}."
        found.remove(member)
    return found, left_out


def _member(workspace: Workspace, symbol: str, config: BacktestConfig, family: str | None) -> Member:
    """Return a pair with its forecasts; raises FxgptError where it has none, or nothing converts its profits."""
    lineage = workspace.lineage(symbol)
    name = family or _champion(workspace, symbol)
    forecast = read_span(workspace.lake, CALIBRATED, symbol, name)
    member = Member(symbol, name, lineage.candles(), forecast, lineage.asset.costs)
    broker: Broker = broker_of(lineage)
    leg = prepare(member.candles, forecast, config, member.costs, broker)
    make_book([leg], config, broker.rates, broker.hours)  # only to hear now whether its profits can be converted
    return member


def _champion(workspace: Workspace, symbol: str) -> str:
    chosen = workspace.documents.find("champion", symbol)
    if chosen is None or not chosen["champion_family"]:
        raise BadInputError(f"It has no champion yet: run `fxgpt materialize --symbol {symbol}` first.")
    return str(chosen["champion_family"])


def _store(workspace: Workspace, portfolio: Portfolio) -> None:
    keep_tables(workspace.lake, ALL, NAME, portfolio.result)
    document = {**portfolio.to_dict(), "curve": portfolio.result.curve(_CURVE_POINTS)}
    workspace.documents.write(NAME, ALL, document, stable_hash(portfolio.to_dict()))
