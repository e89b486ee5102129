"""The configuration tables of everything that is fetched, and the values that they give."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from clockmill.durations import parse_duration
from clockmill.errors import ConfigError, did_you_mean

#: key -> (type or types, default, one line of help), by table.
TABLES: dict[str, dict[str, tuple[type | tuple[type, ...], Any, str]]] = {
    "fetch": {
        "contact": (str, "", "an e-mail address or site that names you to servers; MET Norway requires it"),
        "allow_private": (list, [], "hosts that may be called at a private address, for instance 127.0.0.1"),
        "deadline": (str, "20s", "how long one document may take, from name lookup to last byte"),
        "parallel": (int, 8, "documents fetched at the same time"),
    },
    "weather": {
        "providers": (list, ["met_norway", "open_meteo"], "providers, in the order in which a place tries them"),
        "urls": (dict, {}, "provider -> base URL, where it differs from the provider's own"),
    },
    "news": {
        "keep": (int, 500, "items of a topic that are kept"),
    },
}

PROVIDERS = ("met_norway", "open_meteo")


@dataclass(frozen=True)
class FetchSettings:
    """The table [fetch]; deadline in seconds."""

    contact: str = ""
    allow_private: tuple[str, ...] = ()
    deadline: float = 20.0
    parallel: int = 8

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "FetchSettings":
        """From the table as it stands in the file; ConfigError names the key that is wrong."""
        table = read_table("fetch", values)
        if not (table["contact"].isascii() and table["contact"].isprintable()):
            raise ConfigError("[fetch] contact: it travels in a header, so only printable ASCII characters are allowed")
        deadline = parse_duration(table["deadline"]).total_seconds()
        if not 0 < deadline <= 600:
            raise ConfigError(f'[fetch] deadline = "{table["deadline"]}": allowed is more than 0 s and at most 10m')
        if not 1 <= table["parallel"] <= 64:
            raise ConfigError(f"[fetch] parallel = {table['parallel']}: allowed are 1 to 64")
        hosts = tuple(_texts("fetch", "allow_private", table["allow_private"]))
        return cls(table["contact"].strip(), hosts, deadline, table["parallel"])


@dataclass(frozen=True)
class WeatherSettings:
    """The table [weather]: providers in order, and base URLs that replace their own."""

    providers: tuple[str, ...] = PROVIDERS
    urls: Mapping[str, str] | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "WeatherSettings":
        """From the table as it stands in the file; ConfigError names the key that is wrong."""
        table = read_table("weather", values)
        names = _texts("weather", "providers", table["providers"])
        for key, given in (("providers", names), ("urls", table["urls"])):
            for name in given:
                _check_provider(key, name)
        if not names:
            raise ConfigError(f"[weather] providers is empty: name at least one of {', '.join(PROVIDERS)}")
        for name, url in table["urls"].items():
            if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
                raise ConfigError(f"[weather.urls] {name} = {url!r}: allowed is an http:// or https:// URL")
        return cls(tuple(dict.fromkeys(names)), dict(table["urls"]))


@dataclass(frozen=True)
class NewsSettings:
    """The table [news]."""

    keep: int = 500

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "NewsSettings":
        """From the table as it stands in the file; ConfigError names the key that is wrong."""
        table = read_table("news", values)
        if not 1 <= table["keep"] <= 100_000:
            raise ConfigError(f"[news] keep = {table['keep']}: allowed are 1 to 100000 items")
        return cls(table["keep"])


def read_table(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Every key of the table with its value or default; ConfigError on an unknown key or a wrong type."""
    known = TABLES[name]
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"[{name}] {key}: unknown key{did_you_mean(key, known)} (known: {', '.join(known)})")
        kind = known[key][0]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ConfigError(f"[{name}] {key} = {value!r}: allowed is {_kind_name(kind)}")
    return {key: values.get(key, default) for key, (_, default, _) in known.items()}


def _kind_name(kind: type | tuple[type, ...]) -> str:
    names = {str: "a text", list: "a list", dict: "a table", int: "a whole number", float: "a number"}
    return " or ".join(names[one] for one in (kind if isinstance(kind, tuple) else (kind,)))


def _texts(table: str, key: str, values: list[Any]) -> list[str]:
    for value in values:
        if not isinstance(value, str):
            raise ConfigError(f"[{table}] {key} has {value!r}: allowed is a list of texts")
    return values


def _check_provider(key: str, name: str) -> None:
    if name not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise ConfigError(f'[weather] {key}: unknown provider "{name}"{did_you_mean(name, PROVIDERS)} (known: {known})')
