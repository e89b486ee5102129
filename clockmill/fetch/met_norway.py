"""MET Norway's Locationforecast, compact: GeoJSON in SI units, free with attribution and a contact."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clockmill.errors import ProviderError
from clockmill.fetch.forecast import converted, degrees, load, ordered, row
from clockmill.fetch.http import with_query
from clockmill.fetch.rows import Row

URL = "https://api.met.no/weatherapi/locationforecast/2.0/compact"

#: column -> (MET's variable, its unit where the answer names none, known units and their factors)
VARIABLES: dict[str, tuple[str, str, dict[str, float | None]]] = {
    "temp_c": ("air_temperature", "celsius", {"celsius": 1.0}),
    "wind_ms": ("wind_speed", "m/s", {"m/s": 1.0}),
    "wind_deg": ("wind_from_direction", "degrees", {"degrees": 1.0}),
    "humidity": ("relative_humidity", "%", {"%": 1.0}),
}


@dataclass(frozen=True)
class MetNorway:
    """The provider `met_norway`."""

    url: str = URL
    name: str = "met_norway"
    attribution: str = "Weather data by MET Norway, CC BY 4.0"
    needs_contact: bool = True

    def address(self, lat: float, lon: float) -> str:
        return with_query(self.url, {"lat": degrees(lat), "lon": degrees(lon)})

    def parse(self, document: bytes, place: str, fetched_at: datetime) -> list[Row]:
        answer = load(document, self.name)
        try:
            properties = answer["properties"]
            units = self._units(properties["meta"]["units"])
            steps = [self._step(step, units) for step in properties["timeseries"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            seen = f"{type(error).__name__}: {error}"[:100]
            raise ProviderError(f"{self.name}: not a Locationforecast answer ({seen}); check [weather.urls]") from None
        found = [row(place, at, self, fetched_at, values) for at, values in steps if values["temp_c"] is not None]
        return ordered(found, self.name)

    def _units(self, declared: dict[str, str]) -> dict[str, str]:
        units = {column: declared.get(variable, default) for column, (variable, default, _) in VARIABLES.items()}
        units["precip_mm"] = declared.get("precipitation_amount", "mm")
        for column, unit in units.items():
            if unit not in (VARIABLES[column][2] if column in VARIABLES else ("mm",)):
                raise ProviderError(f'{self.name}: unknown unit "{unit}" for {column}')
        return units

    def _step(self, step: dict[str, Any], units: dict[str, str]) -> tuple[datetime, Row]:
        details = step["data"]["instant"]["details"]
        values: Row = {
            column: converted(details.get(variable), units[column], factors)
            for column, (variable, _, factors) in VARIABLES.items()
        }
        values |= _next_hours(step["data"])
        at = datetime.fromisoformat(step["time"])
        return at if at.tzinfo else at.replace(tzinfo=UTC), values


def _next_hours(data: dict[str, Any]) -> Row:
    """Precipitation and symbol of the shortest period that begins here: an hour, later in the forecast six."""
    for period in ("next_1_hours", "next_6_hours", "next_12_hours"):
        if period in data:
            amount = data[period].get("details", {}).get("precipitation_amount")
            symbol = data[period].get("summary", {}).get("symbol_code")
            return {
                "precip_mm": converted(amount, "mm", {"mm": 1.0}),
                "symbol": symbol[:64] if isinstance(symbol, str) else None,
            }
    return {"precip_mm": None, "symbol": None}
