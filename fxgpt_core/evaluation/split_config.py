"""Configuration of temporal splits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fxgpt_core.common.config import Config


class WalkForwardConfig(Config):
    """How history is cut into training spans and the out-of-sample folds that follow them (SPEC 3 and 9)."""

    first_train: float = Field(
        0.5, ge=0.1, le=0.95, description="share of the usable bars before the first test fold begins"
    )
    folds: int = Field(5, ge=1, le=100, description="number of consecutive test folds over the rest")
    mode: Literal["expanding", "rolling"] = Field(
        "expanding",
        description="expanding: train on everything before; rolling: on a window as long as the first training span",
    )
    embargo_days: float = Field(
        2.0, ge=0.0, le=60.0, description="calendar days between the end of the last label used and the first test row"
    )
    purge_days: float = Field(
        1.0, ge=0.0, le=60.0, description="calendar days between the last training label's end and the validation part"
    )
    validation_share: float = Field(
        0.15, ge=0.0, le=0.5, description="last share of the training rows kept for early stopping and shrinkage"
    )
    min_train_rows: int = Field(250, ge=1, description="fewest training labels that every horizon must have")
