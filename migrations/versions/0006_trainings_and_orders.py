"""What a training was made of and what became of it, checkpoints, orders, fills and adherence (SPEC 16).

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OF_A_TRAINING = (
    sa.Column("symbol", sa.String(6), nullable=False, server_default=""),
    sa.Column("family", sa.String(64), nullable=False, server_default=""),
    sa.Column("name", sa.String(128), nullable=False, server_default=""),
    sa.Column("status", sa.String(16), nullable=False, server_default="done"),
    sa.Column("error", sa.Text(), nullable=False, server_default=""),
    sa.Column("device", sa.String(64), nullable=False, server_default=""),
    sa.Column("data_start", sa.DateTime(timezone=True), nullable=True),
    sa.Column("data_end", sa.DateTime(timezone=True), nullable=True),
    sa.Column("train_loss", sa.Double(), nullable=True),
    sa.Column("validation_loss", sa.Double(), nullable=True),
    sa.Column("best_epoch", sa.Integer(), nullable=True),
    sa.Column("hyperparameters", sa.JSON(), nullable=False, server_default="{}"),
)
_MORE_INDEXES = (("promotions", ("at",)), ("promotions", ("alias", "symbol")), ("retraining_events", ("at",)))


def upgrade() -> None:
    for column in _OF_A_TRAINING:
        op.add_column("training_runs", column.copy())
    op.execute(
        "UPDATE training_runs SET "
        "symbol = (SELECT symbol FROM models WHERE models.id = training_runs.model_id), "
        "family = (SELECT family FROM models WHERE models.id = training_runs.model_id), "
        "name = (SELECT 'version ' || mlflow_version FROM models WHERE models.id = training_runs.model_id), "
        "data_end = (SELECT trained_until FROM models WHERE models.id = training_runs.model_id)"
    )
    with op.batch_alter_table("training_runs") as table:
        table.alter_column("model_id", existing_type=sa.Integer(), nullable=True)
        table.create_unique_constraint("uq_training_runs_symbol_family_name", ["symbol", "family", "name"])
        table.create_check_constraint(op.f("ck_training_runs_status_known"), "status IN ('running', 'done', 'failed')")
        table.create_index("ix_training_runs_symbol_started_at", ["symbol", "started_at"])
        table.create_index("ix_training_runs_status", ["status"])
    _create_checkpoints()
    _create_orders()
    _create_adherence()
    for table, columns in _MORE_INDEXES:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _create_checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_best", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_checkpoints_model_id_models", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("model_id", "path", name="uq_checkpoints_model_id_path"),
        sa.CheckConstraint("bytes >= 0", name=op.f("ck_checkpoints_bytes_not_negative")),
    )  # fmt: skip
    op.create_index("ix_checkpoints_at", "checkpoints", ["at"])


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("direction", sa.Integer(), nullable=False),
        sa.Column("units", sa.Double(), nullable=False),
        sa.Column("signal_price", sa.Double(), nullable=False),
        sa.Column("stop", sa.Double(), nullable=True),
        sa.Column("target", sa.Double(), nullable=True),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("wanted", sa.Double(), nullable=False),
        sa.Column("limited_by", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
        sa.UniqueConstraint("account", "number", name="uq_orders_account_number"),
        sa.CheckConstraint("units > 0", name=op.f("ck_orders_units_positive")),
        sa.CheckConstraint("direction IN (1, -1)", name=op.f("ck_orders_direction_known")),
        sa.CheckConstraint(
            "status IN ('sent', 'open', 'withheld', 'cancelled')", name=op.f("ck_orders_status_known")
        ),
    )  # fmt: skip
    op.create_index("ix_orders_symbol_decided_at", "orders", ["symbol", "decided_at"])
    op.create_index("ix_orders_account_decided_at", "orders", ["account", "decided_at"])
    op.create_index("ix_orders_status", "orders", ["status"])
    op.create_table(
        "fills",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("units", sa.Double(), nullable=False),
        sa.Column("mid", sa.Double(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=False),
        sa.Column("slippage", sa.Double(), nullable=False),
        sa.Column("commission", sa.Double(), nullable=False),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fills"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_fills_order_id_orders", ondelete="CASCADE"),
        sa.UniqueConstraint("order_id", "number", name="uq_fills_order_id_number"),
        sa.CheckConstraint("units > 0", name=op.f("ck_fills_units_positive")),
    )
    op.create_index("ix_fills_filled_at", "fills", ["filled_at"])


def _create_adherence() -> None:
    op.create_table(
        "adherence",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("family", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("period", sa.String(8), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adherence"),
        sa.UniqueConstraint(
            "symbol", "family", "account", "period", "starts_at",
            name="uq_adherence_symbol_family_account_period_starts_at",
        ),
        sa.CheckConstraint("period IN ('day', 'week', 'month', 'all')", name=op.f("ck_adherence_period_known")),
    )  # fmt: skip
    op.create_index("ix_adherence_symbol_starts_at", "adherence", ["symbol", "starts_at"])


def downgrade() -> None:
    for table, columns in _MORE_INDEXES:
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table_name=table)
    for table in ("adherence", "fills", "orders", "checkpoints"):
        op.drop_table(table)
    op.execute("DELETE FROM training_runs WHERE model_id IS NULL")  # trainings that made no version did not exist then
    with op.batch_alter_table("training_runs") as table:
        table.drop_index("ix_training_runs_status")
        table.drop_index("ix_training_runs_symbol_started_at")
        table.drop_constraint(op.f("ck_training_runs_status_known"), type_="check")
        table.drop_constraint("uq_training_runs_symbol_family_name", type_="unique")
        table.alter_column("model_id", existing_type=sa.Integer(), nullable=False)
        for column in reversed(_OF_A_TRAINING):
            table.drop_column(column.name)
