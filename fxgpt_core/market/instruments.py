"""`Instrument`: what a pair is, in the units that prices, sizes and swaps are counted in."""

from __future__ import annotations

from dataclasses import dataclass

from fxgpt_core.common.symbols import normalise_symbol

# (pip, digits) by quote currency where it is not (0.0001, 5); metals are quoted in their own steps.
_QUOTE_STEPS = {"JPY": (0.01, 3), "HUF": (0.01, 3), "KRW": (0.01, 3), "CLP": (0.01, 3), "RUB": (0.001, 4)}
_METAL_STEPS = {"XAU": (0.1, 2), "XAG": (0.01, 3)}
_METAL_LOTS = {"XAU": 100.0, "XAG": 5000.0}
# Pairs that settle one day after the trade: their weekend is rolled over on Thursday, all others' on Wednesday.
_SETTLES_NEXT_DAY = {"USDCAD", "USDTRY", "USDRUB"}


@dataclass(frozen=True)
class Instrument:
    """One pair.

    `pip`: price of one pip; `digits`: decimals of a quoted price; `lot_step`: smallest change of size in lots;
    `contract_size`: units of the base currency in one lot; `triple_swap_day`: weekday (0 = Monday) whose 17:00 New York
    rollover is charged three times.
    """

    symbol: str
    base: str
    quote: str
    pip: float
    digits: int
    lot_step: float = 0.01
    contract_size: float = 100_000.0
    triple_swap_day: int = 2

    @property
    def point(self) -> float:
        """Price of the last quoted digit."""
        return float(10.0**-self.digits)


def instrument(symbol: str) -> Instrument:
    """Return the instrument of a pair in any usual spelling; raises BadInputError for what is no pair."""
    name = normalise_symbol(symbol)
    base, quote = name[:3], name[3:]
    pip, digits = _METAL_STEPS.get(base) or _QUOTE_STEPS.get(quote) or (0.0001, 5)
    return Instrument(
        name,
        base,
        quote,
        pip,
        digits,
        contract_size=_METAL_LOTS.get(base, 100_000.0),
        triple_swap_day=3 if name in _SETTLES_NEXT_DAY else 2,
    )
