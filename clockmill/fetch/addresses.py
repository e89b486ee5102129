"""Which network addresses a fetched URL may lead to."""

import queue
import socket
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from clockmill.errors import FetchError

#: IANA's special-purpose blocks, spelled out: the answers of `ipaddress` itself differ between Python's patch releases.
_NOT_PUBLIC_4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address literal, a scope aside, belongs to the open internet."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return not any(ip in block for block in _NOT_PUBLIC_4)
    inner = _inner_address(ip)
    if inner is not None:
        return is_public(str(inner))
    return ip in _GLOBAL_6 and not any(ip in block for block in _NOT_PUBLIC_6)


def _inner_address(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a mapped or NAT64 address really reaches."""
    return IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped


def lookup(host: str, port: int, seconds: float) -> Sequence[str]:
    """The host's addresses, in the resolver's order; FetchError when there is none or no answer in time.

    The resolver cannot be interrupted, so it is asked in a thread that may be left behind.
    """
    answers: queue.SimpleQueue[list[str] | OSError | UnicodeError] = queue.SimpleQueue()
    threading.Thread(target=_ask, args=(host, port, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise FetchError(f"{host}: the name was not resolved in time; check the host's resolver") from None
    if isinstance(answer, Exception):
        raise FetchError(f"{host}: the name cannot be resolved; check its spelling and the network") from None
    return answer


def _ask(host: str, port: int, answers: "queue.SimpleQueue[list[str] | OSError | UnicodeError]") -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
    except (OSError, UnicodeError) as error:
        answers.put(error)


def checked(host: str, addresses: Sequence[str]) -> Sequence[str]:
    """The same addresses, or FetchError when any of them is not public: a mixed answer is how rebinding begins."""
    for address in addresses:
        if not is_public(address):
            raise FetchError(
                f"{host}: its address {address} is not public and is not called;"
                f' if it is yours, add it to the configuration: [fetch] allow_private = ["{host}"]'
            )
    return addresses
