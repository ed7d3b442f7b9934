"""How long a store on an engine of its own waits for locks, connections and the network."""

from __future__ import annotations

import math
import socket
from dataclasses import asdict, dataclass
from typing import Any, Final

from fine_tuning_store.errors import InvalidValueError

#: Execution option of an engine: how long its transactions wait for a lock, in seconds.
LOCK_TIMEOUT: Final = "fine_tuning_store_lock_timeout"

LONGEST: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the calls of a store that `from_url` opened wait, in seconds: more than 0, and at most a day.

    They do not limit how long a statement works. What the URL says about connecting goes first.

    Attributes:
        lock: For a row, on SQLite for the file, that another transaction has locked. The call raises StoreBusyError then. On PostgreSQL,
            a call that is the first one to wait for the row gives up after half of the time.
        pool: For one of the store's connections while all are in use. The call raises StoreBusyError then.
        connect: For a new connection to the server. The call raises OperationalError of SQLAlchemy then.
        network: For the server's host while it is silent: it confirms neither what was sent nor that the connection still exists. The call
            raises OperationalError of SQLAlchemy then. `close` waits for the server no longer than this, too. Operating systems round it
            up to whole seconds.

    Raises:
        InvalidValueError: A value is out of range.
    """

    lock: float = 5.0
    pool: float = 5.0
    connect: float = 5.0
    network: float = 15.0

    def __post_init__(self) -> None:
        for name, seconds in asdict(self).items():
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST:
                raise InvalidValueError(f"timeouts.{name}", seconds, f"must be a number of seconds, more than 0 and at most {LONGEST}")


#: libpq's settings of a TCP connection, and the options of a socket.
_OPTIONS: Final = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}


def keepalive(seconds: float) -> dict[str, int]:
    """Return the settings of a TCP connection that ends when the other side has been silent for about so many seconds.

    They are the seconds after which it is probed, the seconds between probes, their number, and the milliseconds that sent data may stay
    unconfirmed.
    """
    return dict(zip(_OPTIONS, (math.ceil(seconds / 2), math.ceil(seconds / 4), 2, math.ceil(seconds) * 1000), strict=True))


def limit_silence(tcp: Any, seconds: float, *, keepalives: int = 1, **settings: int) -> None:
    """End the connection of a socket if the other side is silent for so many seconds. Other sockets than those of TCP stay as they are.

    Args:
        tcp: The socket.
        seconds: The limit.
        keepalives: 0 if the other side must not be probed.
        settings: Those of libpq that differ from the settings of `keepalive`. 0 stands for the system's default.
    """
    if tcp.family not in (socket.AF_INET, socket.AF_INET6):
        return
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1 if keepalives else 0)
    for name, value in {**keepalive(seconds), **settings}.items():
        if value > 0 and hasattr(socket, _OPTIONS[name]):  # not every system has all of them
            tcp.setsockopt(socket.IPPROTO_TCP, getattr(socket, _OPTIONS[name]), value)
