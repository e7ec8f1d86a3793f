"""What a live forecast was made from, ensemble weights with their history, studies and trials (SPEC 16).

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OF_A_FORECAST = (
    sa.Column("timeframe", sa.String(8), nullable=False, server_default=""),
    sa.Column("device", sa.String(64), nullable=False, server_default=""),
    sa.Column("batch", sa.Integer(), nullable=False, server_default="1"),
    sa.Column("context", sa.JSON(), nullable=False, server_default="{}"),
)


def upgrade() -> None:
    with op.batch_alter_table("forecasts") as table:
        for column in _OF_A_FORECAST:
            table.add_column(column.copy())
        table.create_check_constraint(op.f("ck_forecasts_batch_positive"), "batch > 0")
    op.create_table(
        "ensemble_weights",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("ensemble", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("member", sa.String(128), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ensemble_weights"),
        sa.UniqueConstraint(
            "symbol", "ensemble", "at", "horizon", "member",
            name="uq_ensemble_weights_symbol_ensemble_at_horizon_member",
        ),
        sa.CheckConstraint("horizon > 0", name=op.f("ck_ensemble_weights_horizon_positive")),
        sa.CheckConstraint("weight >= 0", name=op.f("ck_ensemble_weights_weight_not_negative")),
    )  # fmt: skip
    _create_studies()


def _create_studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(255), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("space", sa.JSON(), nullable=False),
        sa.Column("directions", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("symbol", "name", name="uq_studies_symbol_name"),
        sa.CheckConstraint("status IN ('running', 'done', 'failed')", name=op.f("ck_studies_status_known")),
    )
    op.create_index("ix_studies_symbol_started_at", "studies", ["symbol", "started_at"])
    op.create_index("ix_studies_status", "studies", ["status"])
    op.create_table(
        "study_trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("objectives", sa.JSON(), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_study_trials"),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name="fk_study_trials_study_id_studies", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("study_id", "key", name="uq_study_trials_study_id_key"),
        sa.CheckConstraint("status IN ('done', 'pruned', 'failed')", name=op.f("ck_study_trials_status_known")),
        sa.CheckConstraint("seconds >= 0", name=op.f("ck_study_trials_seconds_not_negative")),
    )  # fmt: skip
    op.create_index("ix_study_trials_at", "study_trials", ["at"])


def downgrade() -> None:
    for table in ("study_trials", "studies", "ensemble_weights"):
        op.drop_table(table)
    with op.batch_alter_table("forecasts") as table:
        table.drop_constraint(op.f("ck_forecasts_batch_positive"), type_="check")
        for column in reversed(_OF_A_FORECAST):
            table.drop_column(column.name)
