"""The demo: a small application's data, and a small web on this machine to fetch from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from clockmill.errors import UsageError
from db.canonical import row_counts
from db.engine import read

#: Tells a folder's demo from an application's own data.
MARK = Path("var") / "demo"

APPLICATION = ("users", "friendships", "posts", "messages", "likes", "products", "ratings")


def prepare(
    engine: Engine, home: Path, base_url: str, progress: Callable[[float, str], None] | None = None
) -> dict[str, int]:
    """Loads the demo into the canonical tables and gives their sizes; what an earlier demo loaded is used again.

    Places and feeds are loaded each time, for the address of the HTTP source may be another one. `progress` is told the
    fraction done and the table under way. Raises UsageError where the tables hold an application's own data.
    """
    # numpy and the generator are for the first demo only.
    from clockmill.demo import application
    from db.load import load_columns

    tell = progress or _say_nothing
    held = _held(engine)
    _guard(home, held)
    data = application.around(base_url) if is_loaded(held) else application.generate(base_url=base_url)
    total = sum(_rows(table) for table in data.values())
    done = 0
    for name, table in data.items():
        tell(done / total, name)
        load_columns(engine, name, table, replace=True)
        done += _rows(table)
    tell(1.0, "")
    return _held(engine)


def settings(base_url: str) -> dict[str, dict[str, Any]]:
    """The configuration under which the jobs fetch from the demo's HTTP source."""
    from clockmill.demo.http_source import MET_PATH, OPEN_METEO_PATH

    return {
        "fetch": {"contact": "demo@localhost", "allow_private": ["127.0.0.1"]},
        "weather": {"urls": {"met_norway": base_url + MET_PATH, "open_meteo": base_url + OPEN_METEO_PATH}},
    }


def is_loaded(held: Mapping[str, int]) -> bool:
    """True when the tables have the sizes of a whole demo."""
    from clockmill.demo.application import PRODUCTS, RATINGS, USERS

    sizes = {"users": USERS, "products": PRODUCTS, "ratings": RATINGS}
    return all(held.get(name, 0) > 0 and held[name] == sizes.get(name, held[name]) for name in APPLICATION)


def _guard(home: Path, held: Mapping[str, int]) -> None:
    mark = home / MARK
    if any(held.values()) and not mark.exists():
        full = ", ".join(sorted(name for name, rows in held.items() if rows))
        raise UsageError(
            f"{full} hold data of your own, which the demo would replace; run it with another CLOCKMILL_HOME"
        )
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _held(engine: Engine) -> dict[str, int]:
    with read(engine) as connection:
        return row_counts(connection)


def _rows(table: Mapping[str, Any]) -> int:
    return len(next(iter(table.values())))


def _say_nothing(share: float, table: str) -> None:
    pass
