"""Configuration of temporal splits (SPEC 3 and 9)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fxgpt_core.common.config import Config


class PurgeConfig(Config):
    """How far training labels keep away from what they are judged on, beyond the end of each label's life."""

    embargo_days: float = Field(
        2.0,
        ge=0.0,
        le=60.0,
        description="calendar days between the end of the last label used and the first test row, and between the end "
        "of the last test label and the first row that trains after it",
    )
    purge_days: float = Field(
        1.0,
        ge=0.0,
        le=60.0,
        description="calendar days between the last training label's end and the validation part, and before the test "
        "spans of combinatorial splits",
    )
    validation_share: float = Field(
        0.15, ge=0.0, le=0.5, description="last share of the training rows kept for early stopping and shrinkage"
    )
    min_train_rows: int = Field(250, ge=1, description="fewest training labels that every horizon must have")


class WalkForwardConfig(PurgeConfig):
    """How history is cut into training spans and the out-of-sample folds that follow them.

    Months left open are those of SPEC 9: 6 to train on and 1 to test where rolling, 12 and 3 where expanding.
    """

    spans: Literal["share", "calendar"] = Field(
        "share",
        description="share: test folds of equal bars over the last part; calendar: whole months, where enough of them "
        "fit, shares otherwise",
    )
    mode: Literal["expanding", "rolling"] = Field(
        "expanding",
        description="expanding: train on everything before; rolling: on a window as long as the first training span",
    )
    first_train: float = Field(
        0.5, ge=0.1, le=0.95, description="by share: of the usable bars, before the first test fold begins"
    )
    folds: int = Field(
        5, ge=1, le=100, description="by share: test folds over the rest; bars that come later open further folds"
    )
    train_months: int | None = Field(
        None, ge=1, le=240, description="by calendar: months before the first test span, the window where rolling"
    )
    test_months: int | None = Field(None, ge=1, le=60, description="by calendar: months of each test span")
    last_folds: int = Field(10, ge=1, le=400, description="by calendar: at most so many test spans, the latest ones")
    least_folds: int = Field(
        2, ge=1, le=400, description="by calendar: fewer test spans than these make a history too short for months"
    )

    @property
    def months(self) -> tuple[int, int]:
        """Months of training before the first test span, and of each test span."""
        usual = (6, 1) if self.mode == "rolling" else (12, 3)
        return self.train_months or usual[0], self.test_months or usual[1]

    @model_validator(mode="after")
    def _consistent(self) -> WalkForwardConfig:
        if self.least_folds > self.last_folds:
            raise ValueError(f"least_folds {self.least_folds} must not exceed last_folds {self.last_folds}")
        return self


class CombinatorialConfig(PurgeConfig):
    """How history is cut into groups of which every choice of `tested` is held out once."""

    groups: int = Field(5, ge=3, le=12, description="consecutive groups of equally many usable bars")
    tested: int = Field(2, ge=1, le=6, description="groups that each split tests")

    @model_validator(mode="after")
    def _consistent(self) -> CombinatorialConfig:
        if self.tested >= self.groups:
            raise ValueError(f"tested {self.tested} must be fewer than groups {self.groups}: some have to train")
        return self
