"""Alembic environment: runs on the connection that `fxgpt_core.store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from fxgpt_core.store.migrate import VERSION_TABLE
from fxgpt_core.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
