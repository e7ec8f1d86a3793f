"""States that change beside model versions that do not (adaptive calibration, online detectors).

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "states",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("symbol", sa.String(6), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_states"),
        sa.UniqueConstraint("owner", "symbol", "version", "number", name="uq_states_owner_symbol_version_number"),
        sa.CheckConstraint("number > 0", name=op.f("ck_states_number_positive")),
    )
    op.create_index("ix_states_owner_symbol_version_as_of", "states", ["owner", "symbol", "version", "as_of"])


def downgrade() -> None:
    op.drop_table("states")
