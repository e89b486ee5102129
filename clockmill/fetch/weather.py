"""Forecasts for many places, each from the first provider that has one."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from clockmill.errors import FetchError, JobError, ProviderError
from clockmill.fetch.forecast import Provider
from clockmill.fetch.http import Door
from clockmill.fetch.met_norway import MetNorway
from clockmill.fetch.open_meteo import OpenMeteo
from clockmill.fetch.rows import Row, rows_of
from clockmill.fetch.settings import WeatherSettings

#: Failures in a row after which a provider is not asked again in this run: a silent one costs the deadline each time.
GIVE_UP = 3


@dataclass(frozen=True)
class Place:
    """A named point; degrees."""

    name: str
    lat: float
    lon: float


def places_of(columns: Mapping[str, Any]) -> list[Place]:
    """Columns place, lat, lon as places; a coordinate that is missing is NaN."""
    return [
        Place(str(row["place"]), *(math.nan if row[axis] is None else float(row[axis]) for axis in ("lat", "lon")))
        for row in rows_of(columns)
    ]


@dataclass(frozen=True)
class Gathered:
    """The rows of every place, and one line for each thing that went wrong."""

    rows: list[Row]
    failures: list[str]


@dataclass
class Asked:
    """A provider during one run: what it failed at, and for how long without a success."""

    provider: Provider
    failures: list[str] = field(default_factory=list)
    in_a_row: int = 0

    def failed(self, line: str) -> None:
        self.in_a_row += 1
        if self.in_a_row <= GIVE_UP:
            self.failures.append(line)
        if self.in_a_row == GIVE_UP:
            self.failures.append(f"{self.provider.name}: given up for this run after {GIVE_UP} failures in a row")

    def note(self, line: str) -> None:
        if line not in self.failures:
            self.failures.append(line)


def providers(settings: WeatherSettings, contact: str) -> list[Asked]:
    """The configured providers in their order; one that needs a contact and has none is there, and given up."""
    known: dict[str, type[MetNorway] | type[OpenMeteo]] = {"met_norway": MetNorway, "open_meteo": OpenMeteo}
    urls: Mapping[str, str] = settings.urls or {}
    asked = [Asked(known[name](url=urls[name]) if name in urls else known[name]()) for name in settings.providers]
    for one in asked:
        if one.provider.needs_contact and not contact:
            one.in_a_row = GIVE_UP
            one.note(
                f"{one.provider.name}: it answers only callers that say who they are;"
                " set [fetch] contact to an e-mail address or a site of yours"
            )
    return asked


def gather(
    places: Sequence[Place],
    current: Sequence[Row],
    door: Door,
    asked: Sequence[Asked],
    parallel: int,
    now: datetime,
) -> Gathered:
    """Every place's forecast; JobError when there are places and none of them gets one.

    A place that gets none keeps the rows that it has in `current`, marked stale.
    """
    with ThreadPoolExecutor(parallel) as pool:
        found = dict(zip(places, pool.map(lambda place: forecast(place, door, asked, now), places), strict=True))
    failures = [line for one in asked for line in one.failures]
    without = [place.name for place, rows in found.items() if not rows]
    if places and len(without) == len(found):
        raise JobError("no place has a forecast: " + " | ".join(failures[:5]))
    if without:
        failures.append(f"{_listed(without)}: no provider answered; rows of an earlier forecast stay, marked stale")
    kept = [{**row, "stale": 1} for row in current if row["place"] in set(without)]
    return Gathered([row for rows in found.values() for row in rows] + kept, failures)


def forecast(place: Place, door: Door, asked: Sequence[Asked], now: datetime) -> list[Row]:
    """The place's rows from the first provider that has them, or none."""
    if not (-90 <= place.lat <= 90 and -180 <= place.lon <= 180):
        asked[0].note(
            f"{place.name}: latitude {place.lat}, longitude {place.lon} is no point on Earth; correct the place"
        )
        return []
    for one in asked:
        if one.in_a_row >= GIVE_UP:
            continue
        try:
            rows = _ask(one, place, door, now)
        except (FetchError, ProviderError) as error:
            one.failed(f"{one.provider.name}, {place.name}: {error}")
        else:
            one.in_a_row = 0
            return rows
    return []


def _ask(one: Asked, place: Place, door: Door, now: datetime) -> list[Row]:
    document = door.get(one.provider.address(place.lat, place.lon), respect_expires=True)
    rows = one.provider.parse(document.body, place.name, now)
    door.keep(document)
    if document.status == 203:
        one.note(
            f"{one.provider.name}: it says that this version of its service ends soon (HTTP 203); update clockmill"
        )
    return rows


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
