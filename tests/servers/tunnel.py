"""A TCP tunnel to a port on loopback, whose connections may break, or fall silent."""

import contextlib
import socket
import threading
from typing import Literal

from tests.servers.process import LOOPBACK
from tests.servers.threaded import Connection, LoopbackServer


class Tunnel(LoopbackServer):
    """Forwards every connection to the port.

    Args:
        port: where to.

    Attributes:
        connections: how many there were so far.
        faults: for each connection to come, in order, what happens to it after so many bytes from the far side;
            the rest are left in peace.
    """

    def __init__(self, port: int) -> None:
        self._far = port
        self._lock = threading.Lock()
        self.connections = 0
        self.faults: list[tuple[int, Literal["close", "stall"]] | None] = []
        super().__init__()

    def serve(self, connection: Connection) -> None:
        with self._lock:
            self.connections += 1
            fault = self.faults.pop(0) if self.faults else None
        with socket.create_connection((LOOPBACK, self._far), timeout=30) as far:
            self._live.add(far)
            far.settimeout(None)
            threading.Thread(target=_forward, args=(connection.sock, far), daemon=True).start()
            try:
                self._back(far, connection.sock, fault)
            finally:
                self._live.discard(far)

    def _back(self, far: socket.socket, near: socket.socket, fault: tuple[int, str] | None) -> None:
        passed = 0
        while data := far.recv(65536):
            passed += len(data)
            if fault and passed >= fault[0]:
                if fault[1] == "stall":
                    self.stopping.wait()
                return
            near.sendall(data)


def _forward(near: socket.socket, far: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := near.recv(65536):
            far.sendall(data)
        far.shutdown(socket.SHUT_WR)
