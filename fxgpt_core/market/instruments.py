"""`Instrument`: what a pair is, in the units that prices, sizes and swaps are counted in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fxgpt_core.common.symbols import normalise_symbol

if TYPE_CHECKING:
    from fxgpt_core.market.instrument_config import InstrumentsConfig

# (pip, digits) by quote currency where it is not (0.0001, 5); metals are quoted in their own steps.
_QUOTE_STEPS = {"JPY": (0.01, 3), "HUF": (0.01, 3), "KRW": (0.01, 3), "CLP": (0.01, 3), "RUB": (0.001, 4)}
_METAL_STEPS = {"XAU": (0.1, 2), "XAG": (0.01, 3)}
_METAL_LOTS = {"XAU": 100.0, "XAG": 5000.0}
# Dollars that one unit has been worth or may come to be worth, generously; a factor of ten must not fit between two
# usual prices. The lira, of which a million was one later, has no range that says anything.
_WORTH = {
    "USD": (1.0, 1.0), "EUR": (0.6, 2.1), "GBP": (0.9, 3.0), "CHF": (0.35, 2.5), "AUD": (0.4, 1.5), "NZD": (0.35, 1.3),
    "CAD": (0.5, 1.4), "JPY": (1 / 400, 1 / 60), "SEK": (1 / 18, 1 / 4), "NOK": (1 / 18, 1 / 4),
    "DKK": (1 / 14, 1 / 4), "HKD": (1 / 10, 1 / 5), "SGD": (0.35, 1.4), "CNH": (1 / 12, 1 / 4), "PLN": (1 / 8, 1 / 1.5),
    "CZK": (1 / 50, 1 / 10), "HUF": (1 / 800, 1 / 80), "ILS": (1 / 8, 1 / 1.5), "MXN": (1 / 50, 1 / 2.5),
    "ZAR": (1 / 50, 1 / 1.5), "BRL": (1 / 20, 1 / 0.7), "CLP": (1 / 2500, 1 / 200), "INR": (1 / 250, 1 / 10),
    "KRW": (1 / 3000, 1 / 500), "RUB": (1 / 500, 1 / 4), "THB": (1 / 90, 1 / 15), "TWD": (1 / 70, 1 / 20),
    "RON": (1 / 12, 1 / 1.5), "XAU": (200.0, 12_000.0), "XAG": (2.0, 500.0),
}  # fmt: skip
# Pairs that settle one day after the trade: their weekend is rolled over on Thursday, all others' on Wednesday.
_SETTLES_NEXT_DAY = {"USDCAD", "USDTRY", "USDRUB"}


@dataclass(frozen=True)
class Instrument:
    """One pair.

    `pip`: price of one pip; `digits`: decimals of a quoted price; `lot_step`: smallest change of size in lots;
    `min_lot`, `max_lot`: smallest and largest order; `contract_size`: units of the base currency in one lot;
    `triple_swap_day`: weekday (0 = Monday) whose 17:00 New York rollover is charged three times.
    """

    symbol: str
    base: str
    quote: str
    pip: float
    digits: int
    lot_step: float = 0.01
    contract_size: float = 100_000.0
    triple_swap_day: int = 2
    min_lot: float = 0.01
    max_lot: float = 100.0

    @property
    def point(self) -> float:
        """Price of the last quoted digit."""
        return float(10.0**-self.digits)

    @property
    def plausible(self) -> tuple[float, float] | None:
        """The lowest and the highest price that anyone may ever have seen, None where nothing can be said."""
        if self.base not in _WORTH or self.quote not in _WORTH:
            return None
        base, quote = _WORTH[self.base], _WORTH[self.quote]
        return base[0] / quote[1], base[1] / quote[0]


def rough_rate(currency: str, other: str) -> float:
    """Return how much of `other` one unit of `currency` has usually been worth, to one digit; 1 where nobody knows."""
    if currency not in _WORTH or other not in _WORTH:
        return 1.0
    (low, high), (least, most) = _WORTH[currency], _WORTH[other]
    return float(f"{(low * high / (least * most)) ** 0.5:.0e}")


def instrument(symbol: str, config: InstrumentsConfig | None = None) -> Instrument:
    """Return the instrument of a pair in any usual spelling, with what `config` says about it.

    Raises BadInputError for what is no pair.
    """
    name = normalise_symbol(symbol)
    base, quote = name[:3], name[3:]
    pip, digits = _METAL_STEPS.get(base) or _QUOTE_STEPS.get(quote) or (0.0001, 5)
    known = Instrument(
        name,
        base,
        quote,
        pip,
        digits,
        contract_size=_METAL_LOTS.get(base, 100_000.0),
        triple_swap_day=3 if name in _SETTLES_NEXT_DAY else 2,
    )
    return known if config is None else _as_broker_says(known, config)


def _as_broker_says(known: Instrument, config: InstrumentsConfig) -> Instrument:
    from fxgpt_core.market.instrument_config import WEEKDAYS

    entry = config.instruments.get(known.symbol)
    if entry is None:
        return known
    values = entry.model_dump(exclude={"swaps", "triple_swap_day"}, exclude_none=True)
    if entry.triple_swap_day is not None:
        values["triple_swap_day"] = WEEKDAYS.index(entry.triple_swap_day)
    return replace(known, **values)
