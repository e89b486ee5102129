"""The five jobs on real data: what came out, and how long reading, computing, writing and publishing took.

    CLOCKMILL_DATA=folder python bench/real_input.py [--database URL] [--only NAME]

Every job is the installed command, a fresh process; every table is loaded by `clockmill load`, except the flights,
which stand for an application's own table and are read through a mapping.
"""

import argparse
import contextlib
import csv
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

HERE = Path(__file__).parent
PHASES = ("read", "compile", "compute", "write", "publish", "total")


@dataclass
class Home:
    """One CLOCKMILL_HOME of the installed command."""

    path: Path
    database: str | None
    settings: list[str] = field(default_factory=list)

    def configure(self, *lines: str) -> None:
        database = [f'[database]\nurl = "{self.database}"'] if self.database else []
        (self.path / "clockmill.toml").write_text("\n".join([*database, *lines]) + "\n", encoding="utf-8")

    def run(self, *arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("clockmill")), *arguments]
        environment = {**os.environ, "CLOCKMILL_HOME": str(self.path)}
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def job(self, name: str, *arguments: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.run("run", name, "--json", *arguments))
        return report

    def get(self, output: str, id: str) -> list[Any]:
        items: list[Any] = json.loads(self.run("outputs", "get", output, id, "--json"))["items"]
        return items


def convert(form: str, source: Path, to: Path) -> Path:
    subprocess.run([sys.executable, str(HERE / "convert.py"), form, str(source), str(to)], check=True)
    return to


def friendships(form: str, file: str) -> Callable[[Home, Path], tuple[dict[str, Any], str]]:
    def measure(home: Home, data: Path) -> tuple[dict[str, Any], str]:
        home.configure()
        home.run("load", "friendships", str(convert(form, data / file, home.path / "friendships.csv")), "--replace")
        report = home.job("recommendations")
        user = json.loads(home.run("outputs", "get", "recommendations", "42", "--json"))
        best = user["items"][0] if user["items"] else None
        return report, f"user 42: {best[0]} with {best[2]['mutual_count']} in common" if best else "user 42 has none"

    return measure


def ratings(form: str, file: str, product: str) -> Callable[[Home, Path], tuple[dict[str, Any], str]]:
    def measure(home: Home, data: Path) -> tuple[dict[str, Any], str]:
        home.configure()
        home.run("load", "ratings", str(convert(form, data / file, home.path / "ratings.csv")), "--replace")
        report = home.job("similarity", "-p", "weighting=cosine")
        items = home.get("similar", product)
        best = items[0] if items else None
        return report, f"product {product}: {best[0]}, cosine {best[1]:.3f}" if best else f"product {product} has none"

    return measure


def flights(home: Home, data: Path) -> tuple[dict[str, Any], str]:
    """Three million flights in a table that is not clockmill's, counted by three queries over a declared source."""
    put_flights(home, data / "counters-flights" / "flights-3m.parquet")
    home.configure(
        '[sources.flights]\ntable = "ontime"\ncolumns = { origin = "origin", destination = "dest", delay = "delay" }',
        '[counters.flights_by_origin]\nquery = "SELECT origin AS key, count(*) AS value FROM {flights} GROUP BY 1"',
        '[counters.late_by_destination]\nquery = "SELECT destination AS key, count(*) AS value FROM {flights} '
        'WHERE delay > 15 GROUP BY destination"',
        "[counters.flights]\nquery = \"SELECT 'total' AS key, count(*) AS value FROM {flights}\"",
    )
    report = home.job("counters")
    total = home.get("counters", "flights")[0][1]
    busiest = max(home.get("counters", "flights_by_origin"), key=lambda item: item[1])
    return report, f"{total:,.0f} flights; busiest: {busiest[0]}, {busiest[1]:,.0f}"


def put_flights(home: Home, file: Path) -> None:
    import pyarrow.parquet as parquet

    from db.engine import open_engine, write

    home.configure()
    home.run("db", "upgrade")
    engine = open_engine(home.database or f"sqlite:///{home.path}/var/clockmill.db")
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    with write(engine) as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS ontime")
        connection.exec_driver_sql("CREATE TABLE ontime (origin VARCHAR(3), dest VARCHAR(3), delay INT)")
        cursor = connection.connection.cursor()
        for batch in parquet.ParquetFile(file).iter_batches(100_000, columns=["origin", "destination", "delay"]):
            rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
            cursor.executemany(f"INSERT INTO ontime VALUES ({mark}, {mark}, {mark})", rows)


def news(home: Home, data: Path) -> tuple[dict[str, Any], str]:
    """Every file of the feeds folder, served as if it were a publisher's."""
    feeds = [path for path in sorted((data / "feeds").rglob("*")) if path.is_file()]
    with serving(partial(Files, directory=str(data / "feeds"))) as base:
        with (home.path / "feeds.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["topic", "url"])
            for path in feeds:
                place = path.relative_to(data / "feeds")
                rows.writerow([place.parts[0], f"{base}/{quote(str(place))}"])
        home.configure('[fetch]\nallow_private = ["127.0.0.1"]', "[news]\nkeep = 100000")
        home.run("load", "feeds", str(home.path / "feeds.csv"), "--replace")
        report = home.job("news")
    topics = len({path.relative_to(data / "feeds").parts[0] for path in feeds})
    return report, f"{len(feeds):,} documents, {topics} topics, {report['rows_out']:,} items"


def weather(home: Home, data: Path) -> tuple[dict[str, Any], str]:
    """The recorded answers of Open-Meteo, each given to the place it was recorded for."""
    recorded = [json.loads(path.read_bytes()) for path in sorted((data / "weather" / "open-meteo").rglob("*.json"))]
    hourly = {(round(one["latitude"], 4), round(one["longitude"], 4)): one for one in recorded if "hourly" in one}

    class Recorded(Quiet):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            place = float(asked["latitude"][0]), float(asked["longitude"][0])
            body = json.dumps(
                hourly[min(hourly, key=lambda at: abs(at[0] - place[0]) + abs(at[1] - place[1]))]
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Recorded) as base:
        lines = [f"place-{i},{lat},{lon}" for i, (lat, lon) in enumerate(hourly)]
        (home.path / "places.csv").write_text("\n".join(["place,lat,lon", *lines]) + "\n")
        home.configure(
            '[fetch]\nallow_private = ["127.0.0.1"]',
            f'[weather]\nproviders = ["open_meteo"]\nurls = {{ open_meteo = "{base}/v1/forecast" }}',
        )
        home.run("load", "places", str(home.path / "places.csv"), "--replace")
        report = home.job("weather")
    first = home.get("weather", "place-0")[0]
    return report, f"{len(hourly)} places, {report['rows_out']} hours; first: {first[0]}, {first[1]} °C"


class Quiet(http.server.BaseHTTPRequestHandler):
    """Says nothing of its requests: the bench's own table is the only output."""

    def log_message(self, *arguments: object) -> None: ...


class Files(Quiet, http.server.SimpleHTTPRequestHandler):
    """The files of a folder."""


@contextlib.contextmanager
def serving(handler: Any) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


CASES: dict[str, Callable[[Home, Path], tuple[dict[str, Any], str]]] = {
    "recommendations, facebook100/American75": friendships("facebook100", "facebook100/American75.edges.gz"),
    "recommendations, musae/github": friendships("musae", "musae/github_edges.csv"),
    "similarity, ml-latest-small": ratings("ml-latest-small", "ml-latest-small/ratings.csv", "1"),
    "similarity, gowalla": ratings("gowalla", "gowalla/train.txt", "0"),
    "counters, 3 M flights": flights,
    "news, feeds folder": news,
    "weather, recorded Open-Meteo": weather,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="a database URL; by default SQLite in a temporary folder")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    if "CLOCKMILL_DATA" not in os.environ:
        raise SystemExit("set CLOCKMILL_DATA to the folder with the data sets; see README.md")
    data = Path(os.environ["CLOCKMILL_DATA"]).absolute()
    print("| job, data | rows in | rows out | " + " | ".join(PHASES) + " | peak MB | what came out |")
    print("|---" * (len(PHASES) + 5) + "|")
    for name, measure in CASES.items():
        if options.only in name:
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                report, came_out = measure(Home(Path(folder), options.database), data)
                seconds = " | ".join(f"{report['seconds'].get(phase, 0):.2f}" for phase in PHASES)
                print(
                    f"| {name} | {report['rows_in']:,} | {report['rows_out']:,} | {seconds} "
                    f"| {report['peak_rss_mb']:.0f} | {came_out} |",
                    flush=True,
                )
                print(f"{name}: {time.perf_counter() - began:.1f} s with loading", file=sys.stderr)


if __name__ == "__main__":
    main()
