"""Open-Meteo's forecast: columns by the hour, in the units that each answer declares. Free for non-commercial use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clockmill.errors import ProviderError
from clockmill.fetch.forecast import converted, degrees, load, number, ordered, row
from clockmill.fetch.http import with_query
from clockmill.fetch.rows import Row

URL = "https://api.open-meteo.com/v1/forecast"

#: column -> (Open-Meteo's variable, known units and their factors)
VARIABLES: dict[str, tuple[str, dict[str, float | None]]] = {
    "temp_c": ("temperature_2m", {"°C": 1.0, "°F": None}),
    "wind_ms": ("wind_speed_10m", {"m/s": 1.0, "km/h": 1 / 3.6, "mp/h": 0.44704, "kn": 1852 / 3600}),
    "wind_deg": ("wind_direction_10m", {"°": 1.0}),
    "humidity": ("relative_humidity_2m", {"%": 1.0}),
    "precip_mm": ("precipitation", {"mm": 1.0, "inch": 25.4}),
}
ASKED = (*(variable for variable, _ in VARIABLES.values()), "weather_code", "is_day")

#: WMO weather code -> MET Norway's word for it.
SYMBOLS = {
    **{0: "clearsky", 1: "fair", 2: "partlycloudy", 3: "cloudy", 45: "fog", 48: "fog"},
    **{51: "lightrain", 53: "lightrain", 55: "rain", 56: "lightsleet", 57: "sleet"},
    **{61: "lightrain", 63: "rain", 65: "heavyrain", 66: "lightsleet", 67: "sleet"},
    **{71: "lightsnow", 73: "snow", 75: "heavysnow", 77: "lightsnow"},
    **{80: "lightrainshowers", 81: "rainshowers", 82: "heavyrainshowers"},
    **{85: "lightsnowshowers", 86: "heavysnowshowers"},
    **{95: "rainandthunder", 96: "heavyrainandthunder", 99: "heavyrainandthunder"},
}


@dataclass(frozen=True)
class OpenMeteo:
    """The provider `open_meteo`."""

    url: str = URL
    name: str = "open_meteo"
    attribution: str = "Weather data by Open-Meteo.com, CC BY 4.0"
    needs_contact: bool = False

    def address(self, lat: float, lon: float) -> str:
        point = {"latitude": degrees(lat), "longitude": degrees(lon)}
        return with_query(self.url, {**point, "hourly": ",".join(ASKED), "wind_speed_unit": "ms", "timezone": "GMT"})

    def parse(self, document: bytes, place: str, fetched_at: datetime) -> list[Row]:
        answer = load(document, self.name)
        if answer.get("error"):
            raise ProviderError(f"{self.name}: it answers with an error: {str(answer.get('reason'))[:200]}")
        hourly, units = answer.get("hourly"), answer.get("hourly_units")
        if not isinstance(hourly, dict) or not isinstance(units, dict):
            raise ProviderError(f"{self.name}: the answer has no hourly forecast; check [weather.urls] {self.name}")
        times = self._times(hourly, units, answer.get("utc_offset_seconds"))
        columns = {column: self._column(column, hourly, units, len(times)) for column in VARIABLES}
        # Its precipitation is the sum of the hour before; ours of the hour that begins.
        columns["precip_mm"] = [*columns["precip_mm"][1:], None]
        columns["symbol"] = _symbols(hourly, len(times))
        values = [dict(zip(columns, measured, strict=True)) for measured in zip(*columns.values(), strict=True)]
        found = [
            row(place, at, self, fetched_at, one)
            for at, one in zip(times, values, strict=True)
            if one["temp_c"] is not None
        ]
        return ordered(found, self.name)

    def _times(self, hourly: Mapping[str, Any], units: Mapping[str, Any], offset: Any) -> list[datetime]:
        """Local times less their declared offset, or seconds since the epoch."""
        behind = timedelta(seconds=number(offset) or 0.0)
        try:
            if units.get("time") == "unixtime":
                return [datetime.fromtimestamp(time, UTC) for time in hourly["time"]]
            return [datetime.fromisoformat(time).replace(tzinfo=UTC) - behind for time in hourly["time"]]
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            raise ProviderError(f"{self.name}: the hourly times cannot be read") from None

    def _column(self, column: str, hourly: Mapping[str, Any], units: Mapping[str, Any], length: int) -> list[Any]:
        variable, known = VARIABLES[column]
        if variable not in hourly:
            return [None] * length
        values, unit = hourly[variable], units.get(variable)
        if not isinstance(values, list) or len(values) != length:
            raise ProviderError(f"{self.name}: {variable} has not one value for each of the {length} times")
        if unit not in known:
            raise ProviderError(f'{self.name}: {variable} in unit "{unit}"; known: {", ".join(known)}')
        return [converted(value, str(unit), known) for value in values]


def _symbols(hourly: Mapping[str, Any], length: int) -> list[str | None]:
    codes, days = hourly.get("weather_code"), hourly.get("is_day")
    if not isinstance(codes, list) or len(codes) != length:
        return [None] * length
    lit = days if isinstance(days, list) and len(days) == length else [None] * length
    return [_symbol(code, day) for code, day in zip(codes, lit, strict=True)]


def _symbol(code: Any, day: Any) -> str | None:
    found = number(code)
    word = SYMBOLS.get(int(found)) if found is not None else None
    if word is None or day not in (0, 1):
        return word
    varies = word in ("clearsky", "fair", "partlycloudy") or word.endswith("showers")
    return f"{word}_{'day' if day else 'night'}" if varies else word
