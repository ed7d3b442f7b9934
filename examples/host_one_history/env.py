"""One history for the application and the store: `alembic upgrade heads`.

Give the store the name of its version table: `FineTuningStore.from_url(url, host_version_table="alembic_version")`.
"""

import os

from alembic import context
from sqlalchemy import NullPool, create_engine

from fine_tuning_store.schema import exclude_store_tables, foreign_keys_off, use_application_branch
from host_one_history.models import Base

engine = create_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
with engine.connect() as connection, foreign_keys_off(connection):  # SQLite rebuilds tables, which would delete child rows
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=exclude_store_tables,
        process_revision_directives=use_application_branch,
    )
    with context.begin_transaction():
        context.run_migrations()
