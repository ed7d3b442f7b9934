"""The env.py of some application: it runs revisions over a connection of the test's."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
