"""A TCP port of this process that leads to a server, and may change what the server says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


def _unchanged(data: bytes) -> bytes:
    return data


@contextmanager
def forwarded(
    target: tuple[str, int], *, host: str = "127.0.0.1", change: Callable[[bytes], bytes] = _unchanged
) -> Iterator[tuple[int, list[int]]]:
    """Yield a port of the host that leads to the target, and a list that grows by one for each connection.

    Args:
        target: The address of the server.
        host: The address to listen on.
        change: What is done with each piece that the server sends. It must not change its length.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    accepted: list[int] = []
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(change(data))
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            accepted.append(len(accepted))
            behind = socket.create_connection(target)
            sockets.extend((client, behind))
            for pair in ((client, behind, _unchanged), (behind, client, change)):
                thread = threading.Thread(target=pump, args=pair, daemon=True)
                thread.start()
                threads.append(thread)

    with socket.create_server((host, 0), family=family) as server:
        threads.append(threading.Thread(target=accept, daemon=True))
        threads[0].start()
        try:
            yield server.getsockname()[1], accepted
        finally:
            for each in (server, *sockets):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)
            for each in sockets:
                each.close()
