"""The application's own migrations. The store keeps its history in a table of its own, and is upgraded first."""

import os

from alembic import context
from sqlalchemy import NullPool, create_engine

from fine_tuning_store import FineTuningStore
from fine_tuning_store.schema import exclude_store_tables
from host_two_histories.models import Base

url = os.environ["DATABASE_URL"]
with FineTuningStore.from_url(url) as store:  # before the transaction of the application's migrations begins
    store.schema.upgrade()
engine = create_engine(url, poolclass=NullPool)
with engine.connect() as connection:
    # without include_name, autogenerate would drop the tables of the store
    context.configure(connection=connection, target_metadata=Base.metadata, include_name=exclude_store_tables)
    with context.begin_transaction():
        context.run_migrations()
