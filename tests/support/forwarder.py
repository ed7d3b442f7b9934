"""A port of this process that leads to a server: it may change what the server says, lose connections or fall silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from sqlalchemy import URL, make_url

PORTS = {"postgresql": 5432, "mariadb": 3306}


class Forwarder:
    """Forwards each connection to its port."""

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self.port: int = listener.getsockname()[1]
        self.accepted = 0
        """The number of connections so far."""
        self.change: Callable[[bytes], bytes] | None = None
        """What is done with each piece that the server sends. It must not change its length."""
        self.loses_at: bytes | None = None
        """A connection whose client sends these bytes is closed instead of forwarding them."""
        self.loses_once_at: bytes | None = None
        """The same, for the first such connection only."""
        self.after_cut: Callable[[], object] | None = None
        """Called before a connection is closed by `cuts_answer_to`."""
        self.cuts_answer_to: bytes | None = None
        """The first connection whose client sends these bytes is closed when the server has answered, instead of forwarding the answer."""
        self.is_silent = False
        """True to forward nothing more, and to close nothing."""
        self._listener = listener
        self._connect = connect
        self._sockets: list[socket.socket] = []
        self._cut: set[socket.socket] = set()

    def accept(self) -> None:
        """Forward until the listener is closed."""
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.accepted += 1
                server = self._connect()
                self._sockets += client, server
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(*pair, pair[0] is server), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_from_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.loses_at is not None and self.loses_at in data:
                    source.shutdown(socket.SHUT_RDWR)
                    break
                if self.loses_once_at is not None and self.loses_once_at in data and not is_from_server:
                    self.loses_once_at = None
                    source.shutdown(socket.SHUT_RDWR)
                    break
                if self.cuts_answer_to is not None and self.cuts_answer_to in data and not is_from_server:
                    self.cuts_answer_to = None
                    self._cut.add(sink)
                if is_from_server and source in self._cut:
                    if self.after_cut is not None:
                        self.after_cut()
                    sink.shutdown(socket.SHUT_RDWR)
                    break
                if not self.is_silent:
                    sink.sendall(self.change(data) if self.change is not None and is_from_server else data)
        if not self.is_silent:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)

    def lose_connections(self) -> None:
        """Close all connections on both sides."""
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._sockets.clear()


def _connect(url: URL) -> socket.socket:
    """Connect to the server of a URL, PostgreSQL's by its Unix socket if the URL has none but a folder."""
    port = url.port or PORTS[url.get_backend_name()]
    folder = url.query.get("host")
    if url.host is not None or folder is None:
        return socket.create_connection((url.host or "127.0.0.1", port))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"{folder}/.s.PGSQL.{port}")
    return connection


@contextmanager
def forwarding(url: str, host: str = "127.0.0.1") -> Iterator[tuple[Forwarder, URL]]:
    """Yield a forwarder to the server of a URL that listens on a host, and the URL of the same database through it."""
    direct = make_url(url)
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        forwarder = Forwarder(listener, partial(_connect, direct))
        thread = threading.Thread(target=forwarder.accept)
        thread.start()
        try:
            yield forwarder, direct.set(host=host, port=forwarder.port).difference_update_query(["host"])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            forwarder.lose_connections()
