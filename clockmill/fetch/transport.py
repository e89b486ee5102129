"""Connections that go only to checked addresses and end at one deadline, whatever the other side does."""

import ipaddress
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore2
import httpx2

from clockmill.errors import FetchError
from clockmill.fetch import addresses

Lookup = Callable[[str, int, float], Sequence[str]]
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class Deadline:
    """One instant by which everything must be over; every blocking step asks how much is left."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; FetchError when none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> FetchError:
        return FetchError(f"no whole answer within {self._seconds:g} s; [fetch] deadline sets the limit")


class CheckedTransport(httpx2.HTTPTransport):
    """An HTTP/1.1 transport for one document: no proxy, no pool of old connections."""

    def __init__(self, backend: "CheckedBackend", tls: ssl.SSLContext) -> None:
        self._pool = httpcore2.ConnectionPool(ssl_context=tls, max_connections=1, network_backend=backend)


class CheckedBackend(httpcore2.NetworkBackend):
    """Connects to the address that was checked, never to a name; Host and SNI stay the URL's."""

    def __init__(self, deadline: Deadline, private_hosts: frozenset[str], lookup: Lookup = addresses.lookup) -> None:
        self._deadline, self._private_hosts, self._lookup = deadline, private_hosts, lookup
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.NetworkStream:
        found = self._lookup(host, port, self._deadline.left())
        if host.rstrip(".") not in self._private_hosts:
            found = addresses.checked(host, found)
        stream = self._first_that_answers(found, port)
        return TimedStream(stream, self._deadline)

    def _first_that_answers(self, found: Sequence[str], port: int) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError("the name has no address")
        for position, address in enumerate(found):
            share = self._deadline.left() / (len(found) - position)
            try:
                stream = self._sockets.connect_tcp(address, port, timeout=share)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _same_peer(stream, address)
        raise failure


def _same_peer(stream: httpcore2.NetworkStream, address: str) -> httpcore2.NetworkStream:
    peer = stream.get_extra_info("server_addr")[0]
    if ipaddress.ip_address(peer) != ipaddress.ip_address(address):
        stream.close()
        raise FetchError(f"connected to {peer} instead of the checked address {address}; the network redirects")
    return stream


class TimedStream(httpcore2.NetworkStream):
    """A stream each of whose steps is given what is left of the deadline, and no more."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
