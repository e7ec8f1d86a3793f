"""What became of live forecasts: outcomes, failures and the performance of each version over rolling windows.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outcomes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("log_return", sa.Double(), nullable=False),
        sa.Column("yardstick", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outcomes"),
        sa.UniqueConstraint("symbol", "decided_at", "horizon", name="uq_outcomes_symbol_decided_at_horizon"),
        sa.CheckConstraint("horizon > 0", name=op.f("ck_outcomes_horizon_positive")),
        sa.CheckConstraint("yardstick > 0", name=op.f("ck_outcomes_yardstick_positive")),
    )  # fmt: skip
    op.create_index("ix_outcomes_decided_at", "outcomes", ["decided_at"])
    op.create_table(
        "forecast_failures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_forecast_failures"),
        sa.UniqueConstraint(
            "symbol", "version", "decided_at", name="uq_forecast_failures_symbol_version_decided_at"
        ),
    )  # fmt: skip
    op.create_index("ix_forecast_failures_at", "forecast_failures", ["at"])
    op.create_table(
        "performance_metrics",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hours", sa.Integer(), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("outcomes", sa.Integer(), nullable=False),
        sa.Column("effective_rows", sa.Double(), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("rmse", sa.Double(), nullable=True),
        sa.Column("crps", sa.Double(), nullable=True),
        sa.Column("skill", sa.Double(), nullable=True),
        sa.Column("coverage", sa.Double(), nullable=True),
        sa.Column("sharpe", sa.Double(), nullable=True),
        sa.Column("drawdown", sa.Double(), nullable=True),
        sa.Column("latency_p50", sa.Double(), nullable=True),
        sa.Column("latency_p95", sa.Double(), nullable=True),
        sa.Column("latency_p99", sa.Double(), nullable=True),
        sa.Column("error_rate", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_performance_metrics"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_performance_metrics_model_id_models", ondelete="CASCADE"
        ),
        sa.UniqueConstraint(
            "model_id", "until", "hours", "horizon", name="uq_performance_metrics_model_id_until_hours_horizon"
        ),
        sa.CheckConstraint("hours > 0", name=op.f("ck_performance_metrics_hours_positive")),
    )  # fmt: skip
    op.create_index("ix_performance_metrics_until", "performance_metrics", ["until"])
    op.add_column("forecasts", sa.Column("origin", sa.String(16), nullable=False, server_default="live"))
    op.add_column("forecasts", sa.Column("served", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("forecasts", sa.Column("calibration", sa.String(64), nullable=False, server_default=""))
    op.add_column("forecasts", sa.Column("novelty", sa.Double(), nullable=True))


def downgrade() -> None:
    for name in ("novelty", "calibration", "served", "origin"):
        with op.batch_alter_table("forecasts") as table:
            table.drop_column(name)
    op.drop_table("performance_metrics")
    op.drop_table("forecast_failures")
    op.drop_table("outcomes")
