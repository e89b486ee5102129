"""What every weather provider gives: one shape of row, in one set of units."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from clockmill.errors import ProviderError
from clockmill.fetch import strict_json
from clockmill.fetch.rows import Row, iso

#: A forecast is under 200 kB; a JSON text may take fifty times its size in memory.
MAX_BYTES = 2_000_000
#: Sixteen days by the hour are 384.
MAX_ROWS = 1_000


class Provider(Protocol):
    """A weather service. `name` is its word in the configuration, `attribution` what its licence wants shown."""

    @property
    def name(self) -> str: ...

    @property
    def attribution(self) -> str: ...

    @property
    def needs_contact(self) -> bool: ...

    def address(self, lat: float, lon: float) -> str:
        """The URL of the forecast for a point, in degrees."""

    def parse(self, document: bytes, place: str, fetched_at: datetime) -> list[Row]:
        """The forecast's rows in the order of `valid_at`; ProviderError when the document is not one.

        valid_at UTC · temp_c · wind_ms · wind_deg (where it comes from) · humidity in percent · precip_mm in the time
        that begins at valid_at and ends at the next row · symbol in MET Norway's words. What the provider does not
        give is None, save the temperature: without it there is no row.
        """


def load(document: bytes, name: str) -> dict[str, Any]:
    """The JSON object of an answer; ProviderError when it is none."""
    if len(document) > MAX_BYTES:
        raise ProviderError(f"{name}: the answer has {len(document)} bytes; a forecast has less than {MAX_BYTES}")
    try:
        answer = strict_json.loads(document)
    except ValueError as error:
        raise ProviderError(f"{name}: the answer is not JSON: {str(error)[:100]}") from None
    if not isinstance(answer, dict):
        raise ProviderError(f"{name}: the answer is not a JSON object; check [weather.urls] {name}")
    return answer


def number(value: Any) -> float | None:
    """A finite number as it stands in a JSON document, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def converted(value: Any, unit: str, units: Mapping[str, float | None]) -> float | None:
    """A number in the unit we keep; `units` gives the factor of each known unit, None for Fahrenheit."""
    given = number(value)
    if given is None:
        return None
    factor = units[unit]
    return round((given - 32) / 1.8 if factor is None else given * factor, 3)


def row(place: str, valid_at: datetime, provider: Provider, fetched_at: datetime, values: Row) -> Row:
    """A whole row; `values` are the measured columns."""
    return {
        "place": place,
        "valid_at": iso(valid_at),
        **values,
        "provider": provider.name,
        "fetched_at": iso(fetched_at),
        "attribution": provider.attribution,
        "stale": 0,
    }


def degrees(value: float) -> str:
    """At most four decimals: MET Norway refuses more, and they would be centimetres."""
    return repr(round(value, 4) + 0.0)


def ordered(rows: list[Row], name: str) -> list[Row]:
    """The rows by their instants, each once; ProviderError when there are none."""
    if not rows:
        raise ProviderError(f"{name}: the answer holds no forecast")
    return sorted({one["valid_at"]: one for one in rows}.values(), key=lambda one: str(one["valid_at"]))[:MAX_ROWS]
