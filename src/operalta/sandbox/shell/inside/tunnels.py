"""The way out of a sandbox, for a command that was given one: a local port, each connection passed to the server."""

import selectors
import socket
import struct

from .frames import PIECE, TUNNEL_CLOSED, TUNNEL_DATA, TUNNEL_END, TUNNEL_OPEN, TUNNEL_SENT, receive, send

MOST_TUNNELS = 16


class _Tunnel:
    """One connection of the command to the local proxy. What it means is the server's to decide."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.waiting = bytearray()
        self.ends = False


class Tunnels:
    """The connections to the local proxy, each passed on over the standard streams."""

    def __init__(self, proxy: socket.socket) -> None:
        self._proxy = proxy
        self._by_number: dict[int, _Tunnel] = {}
        self._last = 0

    def listen(self, watched: selectors.BaseSelector) -> None:
        """Begin to accept connections."""
        self._watched = watched
        self._proxy.listen(MOST_TUNNELS)
        watched.register(self._proxy.fileno(), selectors.EVENT_READ)
        watched.register(0, selectors.EVENT_READ)

    def serve(self, ready: set[int]) -> None:
        """Do what can be done without waiting."""
        if 0 in ready:
            self._take()
        if self._proxy.fileno() in ready:
            self._accept()
        for number, tunnel in list(self._by_number.items()):
            if tunnel.connection.fileno() in ready:
                self._pass_out(number, tunnel)
        for number, tunnel in list(self._by_number.items()):
            self._pass_in(number, tunnel)
        self._read_frames_while_there_is_room()

    def _accept(self) -> None:
        connection, _ = self._proxy.accept()
        if len(self._by_number) >= MOST_TUNNELS:
            connection.close()
            return
        connection.setblocking(False)
        self._last += 1
        self._by_number[self._last] = _Tunnel(connection)
        self._watched.register(connection.fileno(), selectors.EVENT_READ)
        send(TUNNEL_OPEN, struct.pack(">I", self._last))

    def _take(self) -> None:
        kind, payload = receive()
        (number,) = struct.unpack_from(">I", payload)
        tunnel = self._by_number.get(number)
        if tunnel is None:
            return
        if kind == TUNNEL_DATA:
            tunnel.waiting += payload[4:]
        elif kind == TUNNEL_END:
            tunnel.ends = True

    def _pass_out(self, number: int, tunnel: _Tunnel) -> None:
        try:
            piece = tunnel.connection.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if piece:
            send(TUNNEL_SENT, struct.pack(">I", number) + piece)
        else:
            self._drop(number, tunnel)

    def _pass_in(self, number: int, tunnel: _Tunnel) -> None:
        try:
            while tunnel.waiting:
                del tunnel.waiting[: tunnel.connection.send(tunnel.waiting[:PIECE])]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(number, tunnel)
            return
        if tunnel.ends and not tunnel.waiting:
            self._drop(number, tunnel)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if tunnel.waiting else 0)
        self._watched.modify(tunnel.connection.fileno(), wanted)

    def _drop(self, number: int, tunnel: _Tunnel) -> None:
        self._watched.unregister(tunnel.connection.fileno())
        tunnel.connection.close()
        del self._by_number[number]
        send(TUNNEL_CLOSED, struct.pack(">I", number))

    def _read_frames_while_there_is_room(self) -> None:
        """Leave what the server sends where it is while the command does not take it: so the server waits, too."""
        full = any(len(tunnel.waiting) > 8 * PIECE for tunnel in self._by_number.values())
        if full == (0 in self._watched.get_map()):
            if full:
                self._watched.unregister(0)
            else:
                self._watched.register(0, selectors.EVENT_READ)
