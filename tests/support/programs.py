"""Run the command lines in this process, since each real process takes a second. They return exit code and output."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from unittest import mock

from alembic.config import CommandLine, Config

from fine_tuning_store.cli.app import run

ROOT = Path(__file__).parents[2]
#: Starts the command line as a process.
COMMAND = (sys.executable, "-W", "error", "-m", "fine_tuning_store.cli")
Completed = subprocess.CompletedProcess[str]


def fine_tuning_store(*arguments: str, url: str = "", stdout: IO[str] | None = None, stderr: IO[str] | None = None) -> Completed:
    """Run `fine-tuning-store` with the URL in its environment."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder, "stdout"), Path(folder, "stderr")
        with (
            mock.patch.dict(os.environ, {"FINE_TUNING_STORE_URL": url}),
            out.open("w") as out_file,
            errors.open("w") as errors_file,
            contextlib.redirect_stdout(stdout or out_file),
            contextlib.redirect_stderr(stderr or errors_file),
        ):
            code = run(list(arguments))
        if code and "aiomysql" in " ".join((url, *arguments)):
            _collect()
        return subprocess.CompletedProcess(arguments, code, out.read_text(), errors.read_text())


def _collect() -> None:
    """Collect unclosed connections, which the end of a process would have closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def alembic(*arguments: str, cwd: Path = ROOT, **environment: str) -> Completed:
    """Run `alembic` in a folder."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        _restored_logging(),
    ):
        try:
            line = CommandLine(prog="alembic")
            options = line.parser.parse_args(arguments)
            toml, ini = line._inis_from_config(options)
            line.run_cmd(Config(file_=ini, toml_file=toml, ini_section=options.name, cmd_opts=options, stdout=out), options)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception as error:  # noqa: BLE001 - Python would print it and exit with 1
            sys.stderr.write(f"{type(error).__module__}.{type(error).__qualname__}: {error}\n")
            code = 1
    if code:
        _collect()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def alembic_process(*arguments: str, **environment: str) -> Completed:
    """Run `alembic` as a process. A refused command leaves async connections open until the process ends."""
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False)


@contextlib.contextmanager
def _restored_logging() -> Iterator[None]:
    """Restore the logging configuration that alembic.ini changes."""
    loggers = [logging.getLogger(name) for name in (None, "alembic", *logging.root.manager.loggerDict)]
    before = [(logger, logger.level, logger.handlers[:], logger.disabled, logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, level, handlers, disabled, propagate in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.disabled, logger.propagate = disabled, propagate
