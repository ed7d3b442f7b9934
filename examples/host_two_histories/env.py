"""The application's own migrations. The store keeps its history in a table of its own and is upgraded separately.

Run `store.schema.upgrade()` first if tables of the application refer to the store's.
"""

import os

from alembic import context
from sqlalchemy import create_engine

from fine_tuning_store.schema import exclude_store_tables
from host_two_histories.models import Base

engine = create_engine(os.environ["DATABASE_URL"])
with engine.connect() as connection:
    # without include_name, autogenerate would drop the tables of the store
    context.configure(connection=connection, target_metadata=Base.metadata, include_name=exclude_store_tables)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
