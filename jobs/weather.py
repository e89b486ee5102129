"""Weather forecasts for the application's places, each from the first provider that answers."""

from clockmill import Context, Output, job
from clockmill.fetch.cache import Cache
from clockmill.fetch.http import Door
from clockmill.fetch.rows import columns_of, rows_of, same
from clockmill.fetch.settings import FetchSettings, WeatherSettings
from clockmill.fetch.weather import gather, places_of, providers

COLUMNS = {
    "place": "text",
    "valid_at": "time",
    "temp_c": "float",
    "wind_ms": "float",
    "wind_deg": "float",
    "humidity": "float",
    "precip_mm": "float",
    "symbol": "text",
    "provider": "text",
    "fetched_at": "time",
    "attribution": "text",
    "stale": "int",
}

WEATHER = Output(
    "weather",
    key="place",
    order="valid_at",
    item="valid_at",
    score="temp_c",
    columns=COLUMNS,
    stamp=("fetched_at",),
    redis="json",
)


@job(schedule="H * * * *", outputs=[WEATHER])
def weather(ctx: Context) -> None:
    fetch, settings = FetchSettings.of(ctx.settings("fetch")), WeatherSettings.of(ctx.settings("weather"))
    places = places_of(ctx.read("places", "place", "lat", "lon"))
    before = rows_of(ctx.current("weather"))
    with ctx.phase("compute"):
        door = Door(fetch, Cache(ctx.cache_dir / "fetch"))
        found = gather(places, before, door, providers(settings, fetch.contact), fetch.parallel, ctx.now)
    for line in found.failures:
        ctx.log(line)
    if not before or not same(found.rows, before, stamp="fetched_at"):
        ctx.publish("weather", columns_of(found.rows, COLUMNS))
