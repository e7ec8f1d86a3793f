"""Strategies that were backtested, so that luck is judged by how many were really tried.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backtest_trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(255), nullable=False),
        sa.Column("family", sa.String(255), nullable=False),
        sa.Column("forecasts", sa.String(64), nullable=False),
        sa.Column("configuration", sa.String(64), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bars", sa.Integer(), nullable=False),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("sharpe", sa.Double(), nullable=True),
        sa.Column("skewness", sa.Double(), nullable=True),
        sa.Column("kurtosis", sa.Double(), nullable=True),
        sa.Column("daily", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_backtest_trials"),
        sa.UniqueConstraint(
            "symbol", "family", "forecasts", "configuration",
            name="uq_backtest_trials_symbol_family_forecasts_configuration",
        ),
        sa.CheckConstraint("runs > 0", name=op.f("ck_backtest_trials_runs_positive")),
        sa.CheckConstraint("ends_at >= starts_at", name=op.f("ck_backtest_trials_span_not_negative")),
    )  # fmt: skip
    op.create_index("ix_backtest_trials_symbol_ends_at", "backtest_trials", ["symbol", "ends_at"])


def downgrade() -> None:
    op.drop_table("backtest_trials")
