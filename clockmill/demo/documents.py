"""The documents of the demo's HTTP source: forecasts and feeds as the real services give them, all of it made up.

Each is a function of its place or topic and of the hour of `now`, so the same hour gives the same bytes.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from xml.etree import ElementTree

from clockmill.demo.catalogue import TOPICS

HOUR = timedelta(hours=1)
#: MET Norway gives every hour for so long, then every sixth.
HOURLY, SIX_HOURLY = 54, 28
OPEN_METEO_DAYS = 7
ITEMS = 20

MET_UNITS = {
    "air_pressure_at_sea_level": "hPa",
    "air_temperature": "celsius",
    "cloud_area_fraction": "%",
    "precipitation_amount": "mm",
    "relative_humidity": "%",
    "wind_from_direction": "degrees",
    "wind_speed": "m/s",
}
OPEN_METEO_UNITS = {
    "temperature_2m": "°C",
    "relative_humidity_2m": "%",
    "precipitation": "mm",
    "weather_code": "wmo code",
    "wind_speed_10m": "km/h",
    "wind_direction_10m": "°",
    "is_day": "",
}
WIND_UNITS = {"kmh": ("km/h", 3.6), "ms": ("m/s", 1.0), "mph": ("mp/h", 2.23694), "kn": ("kn", 1.94384)}

ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True)
class Weather:
    """One hour at one place, in SI units."""

    temperature: float
    wind: float
    direction: float
    humidity: float
    pressure: float
    clouds: float
    rain: float
    is_day: bool

    @property
    def symbol(self) -> str:
        """MET Norway's word."""
        if self.rain > 0:
            kind = "snow" if self.temperature < 0.5 else "rain"
            return f"light{kind}" if self.rain < 0.5 else f"heavy{kind}" if self.rain > 2.5 else kind
        word = _by_clouds(self.clouds, "clearsky", "fair", "partlycloudy", "cloudy")
        return word if word == "cloudy" else f"{word}_{'day' if self.is_day else 'night'}"

    @property
    def code(self) -> int:
        """The WMO's number."""
        codes = {"lightrain": 61, "rain": 63, "heavyrain": 65, "lightsnow": 71, "snow": 73, "heavysnow": 75}
        return codes.get(self.symbol, int(_by_clouds(self.clouds, "0", "1", "2", "3")))


@dataclass(frozen=True)
class Item:
    """One item of a feed."""

    number: int
    title: str
    summary: str
    link: str
    published: datetime


def hour_of(now: datetime) -> datetime:
    """The hour that a document of `now` was made in."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


# One document sums the rain of the same hours for every period that contains them.
@lru_cache(maxsize=2_000)
def weather_at(lat: float, lon: float, at: datetime) -> Weather:
    """A plausible hour: seasons by hemisphere, warmest in the local afternoon, spells of cloud that last half a day."""
    local = (at.hour + lon / 15) % 24
    season = -math.cos(2 * math.pi * (at.timetuple().tm_yday - 15) / 365) * math.copysign(1, lat)
    daily = math.cos(2 * math.pi * (local - 15) / 24)
    clouds = 50 + 50 * _spell("clouds", lat, lon, at, 12)
    warmth = 28 - 0.0065 * lat * lat + season * abs(lat) * 0.22
    temperature = warmth + daily * (5.5 - 0.035 * clouds) + 3 * _spell("air", lat, lon, at, 36)
    wet = max(0.0, clouds - 70) / 30 * (1 + _spell("rain", lat, lon, at, 3))
    return Weather(
        temperature=round(temperature, 1),
        wind=round(4.5 + 4 * _spell("wind", lat, lon, at, 9), 1),
        direction=round(180 + 179 * _spell("from", lat, lon, at, 18), 1),
        humidity=round(min(100.0, 55 + 0.35 * clouds - 12 * daily), 1),
        pressure=round(1013 + 14 * _spell("pressure", lat, lon, at, 48), 1),
        clouds=round(clouds, 1),
        rain=round(2.2 * wet, 1),
        is_day=_sun_is_up(lat, at.timetuple().tm_yday, local),
    )


def _sun_is_up(lat: float, day: int, local: float) -> bool:
    tilt = math.radians(23.44) * math.sin(2 * math.pi * (day - 81) / 365)
    turn = math.cos(math.radians(15 * (local - 12)))
    return math.sin(math.radians(lat)) * math.sin(tilt) + math.cos(math.radians(lat)) * math.cos(tilt) * turn > 0


def met_compact(lat: float, lon: float, now: datetime) -> bytes:
    """MET Norway's Locationforecast 2.0, compact."""
    first = hour_of(now)
    steps = [first + i * HOUR for i in range(HOURLY)]
    later = steps[-1].replace(hour=steps[-1].hour // 6 * 6) + 6 * HOUR
    steps += [later + 6 * i * HOUR for i in range(SIX_HOURLY)]
    series = [_met_step(lat, lon, at, hourly=i < HOURLY, last=i == len(steps) - 1) for i, at in enumerate(steps)]
    return _json(
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [lon, lat, 0]},
            "properties": {"meta": {"updated_at": _iso(first), "units": MET_UNITS}, "timeseries": series},
        }
    )


def open_meteo(lat: float, lon: float, now: datetime, variables: list[str], wind_unit: str = "kmh") -> bytes:
    """Open-Meteo's hourly forecast of a week from today's midnight, in GMT; only known variables may be asked for."""
    midnight = hour_of(now).replace(hour=0)
    times = [midnight + i * HOUR for i in range(24 * OPEN_METEO_DAYS)]
    unit, factor = WIND_UNITS[wind_unit]
    columns = [_open_meteo_values(lat, lon, at, factor) for at in times]
    return _json(
        {
            "latitude": lat,
            "longitude": lon,
            "generationtime_ms": 0.1,
            "utc_offset_seconds": 0,
            "timezone": "GMT",
            "timezone_abbreviation": "GMT",
            "elevation": 0.0,
            "hourly_units": {"time": "iso8601"} | {v: OPEN_METEO_UNITS[v] for v in variables}
            | ({"wind_speed_10m": unit} if "wind_speed_10m" in variables else {}),
            "hourly": {"time": [at.strftime("%Y-%m-%dT%H:%M") for at in times]}
            | {v: [values[v] for values in columns] for v in variables},
        }
    )  # fmt: skip


def items(topic: str, now: datetime, base_url: str) -> list[Item]:
    """The newest items of a topic, newest first: one for each hour."""
    newest = int(hour_of(now).timestamp()) // 3600
    return [item(topic, newest - i, base_url) for i in range(ITEMS)]


def item(topic: str, number: int, base_url: str) -> Item:
    """The item of one hour since the epoch; the same for ever."""
    _, who, does, what = TOPICS[topic]
    subject, verb, thing = (_choice(words, topic, number, i) for i, words in enumerate((who, does, what)))
    published = datetime.fromtimestamp(number * 3600 - _number(topic, number, "minute") % 3600, UTC)
    return Item(
        number=number,
        title=f"{subject} {_agreed(subject, verb)} {thing}",
        summary=f"{subject}: the story behind {thing}, and what is said about it elsewhere. Made up for this demo.",
        link=f"{base_url}/articles/{topic}/{number}",
        published=published,
    )


def rss(topic: str, now: datetime, base_url: str) -> bytes:
    """An RSS 2.0 document."""
    root = ElementTree.Element("rss", version="2.0")
    channel = ElementTree.SubElement(root, "channel")
    _texts(channel, title=_feed_title(topic), link=f"{base_url}/", description=f"Made-up {topic} news")
    _texts(channel, lastBuildDate=format_datetime(hour_of(now)), ttl="60")
    for one in items(topic, now, base_url):
        entry = ElementTree.SubElement(channel, "item")
        _texts(entry, title=one.title, link=one.link, description=one.summary, pubDate=format_datetime(one.published))
        ElementTree.SubElement(entry, "guid", isPermaLink="false").text = f"{topic}-{one.number}"
    return _xml(root)


def atom(topic: str, now: datetime, base_url: str) -> bytes:
    """An Atom document."""
    root = ElementTree.Element("feed", xmlns=ATOM)
    _texts(root, title=_feed_title(topic), id=f"urn:clockmill:demo:{topic}", updated=_iso(hour_of(now)))
    for one in items(topic, now, base_url):
        entry = ElementTree.SubElement(root, "entry")
        _texts(entry, title=one.title, id=f"urn:clockmill:demo:{topic}:{one.number}", summary=one.summary)
        _texts(entry, published=_iso(one.published), updated=_iso(one.published))
        ElementTree.SubElement(entry, "link", href=one.link)
        _texts(ElementTree.SubElement(entry, "author"), name="The demo desk")
    return _xml(root)


def json_feed(topic: str, now: datetime, base_url: str) -> bytes:
    """A JSON Feed 1.1 document."""
    return _json(
        {
            "version": "https://jsonfeed.org/version/1.1",
            "title": _feed_title(topic),
            "home_page_url": f"{base_url}/",
            "items": [
                {
                    "id": f"{topic}-{one.number}",
                    "url": one.link,
                    "title": one.title,
                    "summary": one.summary,
                    "content_text": one.summary,
                    "date_published": _iso(one.published),
                }
                for one in items(topic, now, base_url)
            ],
        }
    )


def _met_step(lat: float, lon: float, at: datetime, hourly: bool, last: bool) -> dict[str, object]:
    now = weather_at(lat, lon, at)
    data: dict[str, object] = {
        "instant": {
            "details": {
                "air_pressure_at_sea_level": now.pressure,
                "air_temperature": now.temperature,
                "cloud_area_fraction": now.clouds,
                "relative_humidity": now.humidity,
                "wind_from_direction": now.direction,
                "wind_speed": now.wind,
            }
        }
    }
    for hours in () if last else (12, 1, 6) if hourly else (12, 6):
        rain = sum(weather_at(lat, lon, at + i * HOUR).rain for i in range(hours))
        details = {} if hours == 12 else {"precipitation_amount": round(rain, 1)}
        data[f"next_{hours}_hours"] = {"summary": {"symbol_code": now.symbol}, "details": details}
    return {"time": _iso(at), "data": data}


def _open_meteo_values(lat: float, lon: float, at: datetime, wind_factor: float) -> dict[str, float]:
    now = weather_at(lat, lon, at)
    return {
        "temperature_2m": now.temperature,
        "relative_humidity_2m": round(now.humidity),
        # The sum of the hour before, where MET Norway gives that of the hour to come.
        "precipitation": weather_at(lat, lon, at - HOUR).rain,
        "weather_code": now.code,
        "wind_speed_10m": round(now.wind * wind_factor, 1),
        "wind_direction_10m": round(now.direction),
        "is_day": int(now.is_day),
    }


def _spell(name: str, lat: float, lon: float, at: datetime, hours: int) -> float:
    """A smooth course between -1 and 1 that takes a new turn every so many hours."""
    turn, part = divmod(at.timestamp() / 3600, hours)
    share = (1 - math.cos(math.pi * part / hours)) / 2
    before, after = (_number(name, round(lat, 1), round(lon, 1), int(turn) + i) % 2001 / 1000 - 1 for i in (0, 1))
    return before + (after - before) * share


def _by_clouds(clouds: float, *words: str) -> str:
    return words[sum(clouds >= bound for bound in (13, 38, 86))]


def _choice(words: tuple[str, ...], *key: object) -> str:
    return words[_number(*key) % len(words)]


def _number(*key: object) -> int:
    """A number that looks random and is always the same for its key."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=6).digest())


def _agreed(subject: str, verb: str) -> str:
    """The verb as it goes with one subject or several."""
    several = subject.endswith("s") and not subject.endswith("ss")
    first, _, rest = verb.partition(" ")
    stem = first.removesuffix("s") if several else first if first.endswith("s") else f"{first}s"
    return f"{stem} {rest}".rstrip()


def _feed_title(topic: str) -> str:
    return f"The Daily Mill: {topic}"


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _texts(parent: ElementTree.Element, **texts: str) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = text


def _xml(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
