"""Decisions of one kind by time: what became of shadows, told as news and in a rehearsal's timeline.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_decisions_kind_at", "decisions", ["kind", "at"])


def downgrade() -> None:
    op.drop_index("ix_decisions_kind_at", "decisions")
