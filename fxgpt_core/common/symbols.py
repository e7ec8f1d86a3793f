"""Currency-pair symbols: normalisation and checks."""

from __future__ import annotations

import difflib
import re

from fxgpt_core.common.errors import BadInputError

CURRENCIES = (
    "AUD", "BRL", "CAD", "CHF", "CLP", "CNH", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "INR", "JPY", "KRW",
    "MXN", "NOK", "NZD", "PLN", "RON", "RUB", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR", "XAU", "XAG",
)  # fmt: skip


def normalise_symbol(value: str) -> str:
    """Return the six-letter form of a pair: `EUR/USD`, `eur_usd`, `EURUSD=X` -> `EURUSD`.

    Raises BadInputError naming the part that is no currency, with the nearest spelling.
    """
    letters = re.sub(r"[^A-Z]", "", re.sub(r"(=X|\.[A-Z]+)$", "", str(value).strip().upper()))
    if len(letters) != 6:
        raise BadInputError(f"Symbol {value!r} is not a currency pair: write six letters such as EURUSD or EUR/USD.")
    for part in (letters[:3], letters[3:]):
        if part not in CURRENCIES:
            near = difflib.get_close_matches(part, CURRENCIES, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise BadInputError(f"Symbol {value!r}: {part} is not a known currency{hint}")
    if letters[:3] == letters[3:]:
        raise BadInputError(f"Symbol {value!r}: base and quote currency are the same.")
    return letters
