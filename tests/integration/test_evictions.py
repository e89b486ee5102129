import logging
from pathlib import Path

import numpy as np
import pytest
from redis import Redis

from clockmill.config import merge
from clockmill.housekeeping import House
from clockmill.mill import Mill
from db.engine import write
from db.migrate import upgrade
from db.output_spec import OutputSpec, resolve
from db.outputs import Build
from db.publish import verify

LISTS = OutputSpec("lists", key="id", item="item", columns={"id": "id", "item": "text"})


def test_evicted_keys_are_reported_and_written_again(
    tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    variables = {"CLOCKMILL_REDIS__URL": redis_url}
    mill = Mill(merge(tmp_path, None, {}, variables))
    upgrade(mill.engine)
    texts = np.empty(2000, object)
    texts[:] = ["x" * 250] * 2000
    build = Build(mill.engine, resolve(LISTS, columns := {"id": np.arange(2000), "item": texts}), 1, 1)
    build.begin()
    build.write(columns)
    with write(mill.engine) as connection:
        build.publish(connection, "2026-01-01T00:00:00Z", "")
    house = House(mill)
    house.keep()
    assert mill.mirror is not None
    assert verify(mill.engine, mill.mirror, "lists") == []
    with Redis.from_url(redis_url) as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", used - 300_000)
        client.set("another", "application")
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
    assert verify(mill.engine, mill.mirror, "lists") != []
    with caplog.at_level(logging.ERROR):
        house.keep()
    assert "Redis evicted" in caplog.text
    assert verify(mill.engine, mill.mirror, "lists") == []
