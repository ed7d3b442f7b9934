"""Pseudo-terminals: what a command shows on one, and the keys that it gets."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from tests.support.programs import COMMAND, fine_tuning_store


def without_styles(shown: str) -> str:
    """Return the lines of a terminal without escape sequences and blanks at their ends."""
    return "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).splitlines())


def in_terminal(*arguments: str, url: str, columns: int = 100, **environment: str) -> tuple[int, str]:
    """Run `fine-tuning-store` in this process with a pseudo-terminal as its output. Return the exit code and what was shown."""
    with _terminal(columns) as (parts, end), open(end, "w", closefd=False) as output:
        with mock.patch.dict(os.environ, {"TERM": "xterm-256color", "COLUMNS": str(columns), **environment}):
            code = fine_tuning_store(*arguments, url=url, stdout=output, stderr=output).returncode
    return code, "".join(parts)


def process_in_terminal(*arguments: str, url: str, columns: int, keys: str = "", after: str = "") -> tuple[int, str]:
    """Run it as a process whose terminal has a size, and type keys once some text was shown. Return the exit code and what was shown."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"FINE_TUNING_STORE_URL": url, "TERM": "xterm-256color"}
    with _terminal(columns, after, keys) as (parts, end):
        command = [sys.executable, "-c", "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])", *COMMAND, *arguments]
        code = subprocess.run(command, env=environment, stdin=end, timeout=60, check=False).returncode
    return code, "".join(parts)


@contextmanager
def _terminal(columns: int, after: str = "", keys: str = "") -> Iterator[tuple[list[str], int]]:
    """Open a pseudo-terminal. What is shown is complete after the block."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    parts: list[str] = []

    def read() -> None:
        typed = not keys
        shown = b""
        try:
            while part := os.read(terminal, 65536):
                shown += part
                if not typed and after.encode() in shown:
                    os.write(terminal, keys.encode())
                    typed = True
        except OSError:  # Linux reports a closed terminal as an error
            pass
        parts.append(shown.decode())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield parts, end
    finally:
        os.close(end)
        reader.join(60)
        os.close(terminal)
