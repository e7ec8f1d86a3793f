"""First tables: index of models, training, live forecasts, decisions, retraining, promotions (SPEC 16).

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("family", sa.String(64), nullable=False),
        sa.Column("mlflow_version", sa.String(32), nullable=False),
        sa.Column("trained_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("symbol", "mlflow_version", name="uq_models_symbol_mlflow_version"),
    )
    op.create_index("ix_models_symbol_trained_until", "models", ["symbol", "trained_until"])
    op.create_table(
        "training_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("dagster_run_id", sa.String(64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_training_runs"),
        sa.UniqueConstraint("model_id", name="uq_training_runs_model_id"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_training_runs_model_id_models", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "forecasts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("std", sa.Double(), nullable=False),
        sa.Column("quantiles", sa.JSON(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_forecasts"),
        sa.UniqueConstraint("model_id", "decided_at", "horizon", name="uq_forecasts_model_id_decided_at_horizon"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_forecasts_model_id_models", ondelete="CASCADE"),
        sa.CheckConstraint("horizon > 0", name=op.f("ck_forecasts_horizon_positive")),
        sa.CheckConstraint("std >= 0", name=op.f("ck_forecasts_std_not_negative")),
    )
    op.create_index("ix_forecasts_decided_at", "forecasts", ["decided_at"])
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("cause", sa.String(255), nullable=False),
        sa.Column("what", sa.String(64), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.UniqueConstraint("symbol", "kind", "cause", name="uq_decisions_symbol_kind_cause"),
    )
    op.create_index("ix_decisions_symbol_at", "decisions", ["symbol", "at"])
    op.create_table(
        "retraining_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("cause", sa.String(255), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("dagster_run_id", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_retraining_events"),
        sa.UniqueConstraint("symbol", "cause", name="uq_retraining_events_symbol_cause"),
        sa.CheckConstraint("status IN ('requested', 'done', 'failed')", name=op.f("ck_retraining_events_status_known")),
    )
    op.create_index("ix_retraining_events_symbol_at", "retraining_events", ["symbol", "at"])
    op.create_index("ix_retraining_events_status", "retraining_events", ["status"])
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("alias", sa.String(32), nullable=False),
        sa.Column("from_version", sa.String(32), nullable=True),
        sa.Column("to_version", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_promotions"),
    )
    op.create_index("ix_promotions_symbol_at", "promotions", ["symbol", "at"])


def downgrade() -> None:
    # Dropping a table drops its indexes; tables that point to others go first.
    for table in ("forecasts", "training_runs", "models", "promotions", "retraining_events", "decisions"):
        op.drop_table(table)
