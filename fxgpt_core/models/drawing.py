"""Another number of draws for a fitted model that forecasts by them."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from pydantic import ValidationError

from fxgpt_core.common.errors import ModelError

_Model = TypeVar("_Model")


def with_draws(model: _Model, draws: int) -> _Model:
    """Return the same fitted model with `config.diffusion.samples` = `draws`; its weights are shared.

    Raises ModelError where the configuration has no room for so many.
    """
    other: Any = copy.copy(model)
    values = other.config.model_dump()
    try:
        config = type(other.config).model_validate({**values, "diffusion": {**values["diffusion"], "samples": draws}})
    except ValidationError as error:
        raise ModelError(f"{draws} draws were asked for: a forecast has 10 to 2000.") from error
    other.config, other.network = config, copy.copy(other.fitted()[0])
    other.network.config = config
    return other  # type: ignore[no-any-return]
