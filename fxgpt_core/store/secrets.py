"""Secrets come from the environment: a variable, or a file that another variable names (DESIGN, configuration)."""

from __future__ import annotations

import os
from pathlib import Path

from fxgpt_core.common.errors import BadInputError


def read_secret(variable: str) -> str:
    """Return the value of `variable`, else of the file that `variable`_FILE names, stripped; empty without either.

    Raises BadInputError naming a file that cannot be read.
    """
    value, file = os.environ.get(variable, ""), os.environ.get(f"{variable}_FILE")
    if not value and file:
        try:
            value = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"The file that {variable}_FILE names cannot be read: {file}.") from error
    return value.strip()
