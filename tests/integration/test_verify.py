from collections.abc import Iterator

import numpy as np
import pytest
from redis import Redis
from sqlalchemy import Engine

from db import outputs
from db.engine import write
from db.mirror import Mirror
from db.output_spec import OutputSpec, resolve
from db.outputs import Build
from db.publish import mirror_output, verify

LISTS = OutputSpec("lists", key="id", item="item", score="score", columns={"id": "id", "item": "int", "score": "float"})
SETS = OutputSpec("groups", key="id", item="item", columns={"id": "id", "item": "int"}, redis="set")
HASHES = OutputSpec(
    "tolls",
    key="name",
    item="key",
    score="value",
    redis="hash",
    columns={"name": "text", "key": "text", "value": "int"},
)
ROWS = {
    "lists": {"id": np.array([1, 1, 2]), "item": np.array([5, 6, 7]), "score": np.array([0.5, np.nan, 2.0])},
    "groups": {"id": np.array([1, 1, 2]), "item": np.array([5, 6, 7])},
    "tolls": {
        "name": np.array(["users", "posts"], object),
        "key": np.array(["total", "total"], object),
        "value": np.array([3, 4]),
    },
}


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(params=[LISTS, SETS, HASHES], ids=lambda spec: spec.name)
def output(request: pytest.FixtureRequest, database: Engine, client: Redis) -> OutputSpec:
    spec: OutputSpec = request.param
    build = Build(database, resolve(spec, ROWS[spec.name]), 1, 1)
    build.begin()
    build.write(ROWS[spec.name])
    with write(database) as connection:
        build.publish(connection, "2026-01-01T00:00:00Z", "")
    mirror_output(database, Mirror(client, "app"), spec.name)
    return spec


def test_what_was_mirrored_equals_sql(database: Engine, client: Redis, output: OutputSpec) -> None:
    assert verify(database, Mirror(client, "app"), output.name) == []


def test_a_missing_a_changed_and_a_stray_entity_are_each_named(
    database: Engine, client: Redis, output: OutputSpec
) -> None:
    mirror = Mirror(client, "app")
    first, second = sorted(mirror.keys_of(output.prefix))
    client.rename(f"cm:app:{output.prefix}:{second}", f"cm:app:{output.prefix}:stray")
    client.copy(f"cm:app:{output.prefix}:stray", f"cm:app:{output.prefix}:{first}", replace=True)
    assert verify(database, mirror, output.name) == [
        f"{output.prefix}:{first} differs from SQL",
        f"{output.prefix}:{second} is missing",
        f"{output.prefix}:stray is in Redis only",
    ]


def test_a_flushed_redis_is_told_and_made_whole_again(database: Engine, client: Redis, output: OutputSpec) -> None:
    mirror = Mirror(client, "app")
    client.flushdb()
    assert verify(database, mirror, output.name)[0] == "Redis does not hold version 1 whole"
    mirror_output(database, mirror, output.name)
    assert verify(database, mirror, output.name) == []
    assert outputs.known(database)[output.name].mirrored == 1
