"""The demo loaded into a database, small."""

import pytest

from clockmill import demo
from clockmill.demo import application
from clockmill.errors import UsageError
from db.engine import open_engine
from db.load import load_columns
from db.sources import SourceSpec, read
from db.tables import canonical

BASE = "http://127.0.0.1:8099"


@pytest.fixture
def engine(tmp_path, monkeypatch):
    monkeypatch.setattr(application, "USERS", 200)
    monkeypatch.setattr(application, "RATINGS", 1_000)
    monkeypatch.setattr(application.generate, "__defaults__", (7, 200, 1_000, BASE))
    engine = open_engine(f"sqlite:///{tmp_path}/demo.db")
    canonical.create(engine)
    return engine


def test_every_source_is_loaded_and_told(engine, tmp_path):
    told = []
    held = demo.prepare(engine, tmp_path, BASE, lambda share, table: told.append((round(share, 1), table)))
    assert (held["users"], held["products"], held["ratings"], held["places"]) == (200, 2_000, 1_000, 10)
    assert (told[0], told[-1]) == ((0.0, "users"), (1.0, ""))


def test_a_second_demo_uses_what_is_there(engine, tmp_path, monkeypatch):
    first = demo.prepare(engine, tmp_path, BASE)
    monkeypatch.setattr(application, "generate", None)
    assert demo.prepare(engine, tmp_path, BASE) == first


def test_a_second_demo_follows_the_source_to_its_new_address(engine, tmp_path):
    demo.prepare(engine, tmp_path, BASE)
    demo.prepare(engine, tmp_path, "http://127.0.0.1:9000")
    assert all(url.startswith("http://127.0.0.1:9000/") for url in read(engine, SourceSpec("feeds"), ["url"])["url"])


def test_a_demo_that_was_broken_off_is_loaded_again(engine, tmp_path):
    demo.prepare(engine, tmp_path, BASE)
    load_columns(engine, "ratings", {"user_id": [1], "product_id": [1], "value": [3.0]}, replace=True)
    assert demo.prepare(engine, tmp_path, BASE)["ratings"] == 1_000


def test_data_of_ones_own_is_left_alone(engine, tmp_path):
    load_columns(engine, "users", {"user_id": [1]})
    with pytest.raises(UsageError, match=r"users hold data of your own.*CLOCKMILL_HOME"):
        demo.prepare(engine, tmp_path, BASE)
    assert read(engine, SourceSpec("users"), ["user_id"]).rows == 1


def test_the_jobs_settings_name_the_source():
    assert demo.settings(BASE)["weather"]["urls"]["open_meteo"] == f"{BASE}/v1/forecast"
