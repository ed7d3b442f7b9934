"""Alembic's environment. What it runs is in fine_tuning_store.schema.runner."""

import logging.config

from alembic import context

from fine_tuning_store.schema import runner
from fine_tuning_store.schema.command import Command

if context.config.config_file_name is not None:
    logging.config.fileConfig(context.config.config_file_name, disable_existing_loggers=False)

runner.run(Command.running())
