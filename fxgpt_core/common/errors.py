"""Errors a person can act on: what was wrong, with which value, where, and what to do."""

from __future__ import annotations


class FxgptError(Exception):
    """Base of every error that fxgpt raises on purpose.

    The message is one sentence for a person; the command line shows it without a traceback.
    `exit_code` is what the command line returns: 1 failed, 2 bad input (SPEC 19).
    """

    exit_code = 1


class BadInputError(FxgptError):
    """Something that the user gave (file, symbol, option) cannot be used."""

    exit_code = 2


class ConfigError(BadInputError):
    """A configuration file has an unknown key, a value out of range or a contradiction."""


class DataError(FxgptError):
    """Stored data break an invariant or are missing where they are needed."""


class UnfitBarsError(DataError):
    """Bars fail their quality limits: nothing may be built on them until they are mended."""


class ModelError(FxgptError):
    """A model cannot be fitted, loaded or asked for what it does not do."""


class StoreError(FxgptError):
    """A database, registry or lake is unreachable, locked, read-only or damaged."""
