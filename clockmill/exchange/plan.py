"""What this mill's configuration and code ask of the broker."""

import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

from clockmill.errors import ConfigError
from clockmill.exchange.broker import check_url
from clockmill.exchange.desk import Post
from clockmill.exchange.topology import DEFAULT_POOL, HANDLER, REQUESTS, Topology, topology
from clockmill.exchange.triggers import requests_spec, trigger_specs
from clockmill.mill import Mill

LABEL = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def broker_url(mill: Mill) -> str:
    """The configured URL, "" for none. Raises ConfigError for one that is not a broker's."""
    url = str(mill.config.table("broker")["url"])
    if url and find_spec("amqp") is None:
        raise ConfigError(f"{mill.config.where('broker.url')}: [broker] url needs kombu; install clockmill[messages]")
    return check_url(url, f"{mill.config.where('broker.url')}: [broker] url") if url else ""


def required_url(mill: Mill) -> str:
    """The same for what is nothing without a broker."""
    url = broker_url(mill)
    if not url:
        raise ConfigError('[broker] url is not set; for instance: url = "amqp://guest@127.0.0.1"')
    return url


def hands(mill: Mill) -> int:
    """Handlers at work at once in one process. Raises ConfigError for none."""
    count: int = mill.config.table("broker")["handlers"]
    if count < 1:
        where = f"{mill.config.where('broker.handlers')}: [broker] handlers"
        raise ConfigError(f"{where} = {count}; allowed: 1 and up")
    return count


def topology_of(mill: Mill, offers: Iterable[Sequence[str]] = ()) -> Topology:
    """Everything for the handlers, triggers and pools of this mill, and for workers that offer this. Raises ConfigError
    for a wrong label."""
    handlers = [(spec.name, spec.patterns, spec.ordered) for spec in mill.registry.handlers.values()]
    triggers = [(spec.name, spec.on) for spec in mill.registry.jobs.values() if spec.on]
    pools = [name for name in mill.config.table("pools") if name != DEFAULT_POOL]
    return topology(handlers, triggers, pools, offers, labels(mill))


def posts_of(mill: Mill) -> list[Post]:
    """Every queue whose messages this mill's processes handle, and how."""
    posts = [Post(spec, HANDLER + spec.name) for spec in mill.registry.handlers.values()]
    posts += [Post(spec, spec.name) for spec in trigger_specs(mill)]
    return [*posts, Post(requests_spec(), REQUESTS)]


def labels(mill: Mill) -> list[str]:
    """What workers may offer, as the configuration lists it."""
    listed: list[Any] = mill.config.table("broker")["labels"]
    for label in listed:
        if not isinstance(label, str) or not LABEL.fullmatch(label):
            where = f"{mill.config.where('broker.labels')}: [broker] labels"
            raise ConfigError(f"{where}: {label!r}: expected words like gpu: {LABEL.pattern}")
    return listed
