"""Connections to the broker: how they are opened, named, masked and what their failures are called."""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ssl import CERT_REQUIRED
from typing import TYPE_CHECKING, Any

from clockmill.errors import BrokerUnavailable, ConfigError, did_you_mean
from clockmill.version import VERSION

if TYPE_CHECKING:
    from kombu import Connection

#: What may be configured; `memory` is kombu's own, within one process, for tests.
SCHEMES = ("amqp", "amqps")
#: How messages about an outage begin.
SETTING = "[broker] url: "
#: How long one try to connect may take.
CONNECT_S = 5.0
#: A connection over which nothing came for twice as long is given up.
HEARTBEAT_S = 20
#: Of kombu's in-memory transport, which serves unit tests: what it does not know, and what becomes of it there.
MEMORY_LACKS = {
    "headers": "headers exchanges: nothing is routed by resources",
    "confirms": "publisher confirms and returns: every message counts as taken",
    "limits": "delivery limits, delays and dead letters: a message that fails is given up by its consumer alone",
}

_PASSWORD = re.compile(r"(://[^/@:]*:)\S*@")
#: Between the nodes of a cluster; a `;` within a password begins no URL.
_NEXT_NODE = re.compile(r"\s*;\s*(?=[a-z]+://)")


def nodes(url: str) -> list[str]:
    """The URLs of a cluster's nodes, of which any will do: amqp://a;amqp://b."""
    return _NEXT_NODE.split(url)


def masked(url: str) -> str:
    """The URL with its password hidden."""
    return ";".join(_PASSWORD.sub(r"\1***@", node) for node in nodes(url))


def check_url(url: str, where: str = "[broker] url") -> str:
    """The URL, if it is one of a broker. Raises ConfigError: Redis keeps a killed worker's messages for an hour."""
    for node in nodes(url):
        scheme = node.partition("://")[0]
        if scheme not in SCHEMES or "://" not in node:
            hint = "; Redis is never the broker" if scheme.startswith("redis") else did_you_mean(scheme, SCHEMES)
            raise ConfigError(f'{where}: "{masked(node)}" is not the URL of a broker{hint}; allowed: amqp://, amqps://')
        if ";" in node:
            raise ConfigError(f'{where}: "{masked(node)}": a ; stands between two URLs; in a password write %3B')
    return url


def connection(url: str, purpose: str, on_blocked: Callable[[str], None] | None = None) -> "Connection":
    """A connection that is open, and named in the broker's own lists; to any node of a cluster that answers.

    `on_blocked` hears why the broker takes no messages at present, and "" when it does again. Raises BrokerUnavailable.
    """
    if not url.startswith("memory://"):
        check_url(url)
    problems = {}
    # By chance: a cluster's nodes share the connections, and who has met an ill one finds another.
    for node in random.sample(every := nodes(url), len(every)):
        try:
            return _connect(node, purpose, on_blocked)
        except BrokerUnavailable as e:
            problems[node] = str(e).removeprefix(SETTING)
    raise BrokerUnavailable(SETTING + "; ".join(problems[node] for node in every))


def _connect(url: str, purpose: str, on_blocked: Callable[[str], None] | None) -> "Connection":
    from kombu import Connection

    options: dict[str, Any] = {}
    if not url.startswith("memory://"):
        options = {"client_properties": {"product": "clockmill", "version": VERSION, "connection_name": purpose}}
        if on_blocked:
            heard = on_blocked
            options["on_blocked"] = lambda _: heard("the broker is blocked: its memory or disk alarm is on")
            options["on_unblocked"] = lambda: heard("")
    # The certificate must be a known authority's, and the host's.
    tls = {"cert_reqs": CERT_REQUIRED, "server_hostname": None} if url.startswith("amqps://") else False
    made = Connection(url, connect_timeout=CONNECT_S, heartbeat=HEARTBEAT_S, transport_options=options, ssl=tls)
    with translated(url):
        # Once: whoever asks tries again, and can be stopped meanwhile.
        made.ensure_connection(max_retries=1, interval_start=0, interval_step=0, interval_max=0)
    return made


@contextmanager
def opened(url: str, purpose: str) -> Iterator["Connection"]:
    """The same for the length of a block."""
    made = connection(url, purpose)
    try:
        yield made
    finally:
        close(made)


def close(made: "Connection") -> None:
    """Whatever state it is in."""
    try:
        made.release()
    except Exception:
        # It was broken already; the broker finds out by itself.
        made.collect()


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Whatever the libraries raise for a broker that is away, refuses us or breaks off, as BrokerUnavailable."""
    try:
        yield
    except BrokerUnavailable:
        raise
    except Exception as e:
        if not is_outage(e):
            raise
        raise BrokerUnavailable(f"{SETTING}{masked(url)}: {_sentence(e)}") from e


def is_outage(error: BaseException) -> bool:
    """True for errors of the connection or channel, after which one opens another."""
    from amqp.exceptions import AMQPError
    from kombu.exceptions import OperationalError

    # py-amqp trips over its own closed connections: AttributeError, KeyError of a channel that is gone.
    lost = isinstance(error, AttributeError | KeyError | IndexError) and _raised_by_client(error)
    return lost or isinstance(error, OSError | AMQPError | OperationalError)


def _raised_by_client(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and "/amqp/" in trace.tb_frame.f_code.co_filename


def _sentence(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    words = masked(text[0]) if text else ""
    return words if words and words != "None" else f"the connection broke ({type(error).__name__})"


def server_version(made: "Connection") -> tuple[int, ...]:
    """The broker's version; empty for the in-memory transport."""
    properties = getattr(made.connection, "server_properties", {})
    return tuple(int(part) for part in re.findall(r"\d+", str(properties.get("version", "")))[:3])
