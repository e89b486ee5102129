from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from db import outputs
from db.engine import write
from db.errors import OutputError
from db.output_spec import OutputSpec, resolve
from db.outputs import Build

SPEC = OutputSpec("lists", key="id", item="item", columns={"id": "id", "item": "int"})


def publish(engine: Engine, items: dict[int, int], only: list[int] | None = None) -> None:
    columns = {"id": np.array(list(items)), "item": np.array(list(items.values()))}
    build = Build(engine, resolve(SPEC, columns), 1, 1)
    build.begin()
    build.write(columns, only)
    with write(engine) as connection:
        build.publish(connection, "2026-01-01T00:00:00Z", "")


def content(engine: Engine) -> dict[Any, Any]:
    spec, row = outputs.find(engine, "lists")
    rows = outputs.read_rows(engine, spec, row.version)
    return dict(zip(rows["id"].tolist(), rows["item"].tolist(), strict=True))


def test_a_rollback_publishes_the_content_of_the_last_full_build_as_a_higher_version(database: Engine) -> None:
    publish(database, {1: 10, 2: 20})
    publish(database, {1: 11, 3: 30})
    rolled = outputs.rollback(database, "lists", "2026-01-02T00:00:00Z")
    assert (rolled.version, rolled.rows) == (3, 2)
    assert content(database) == {1: 10, 2: 20}


def test_a_partial_version_is_no_target_of_a_rollback(database: Engine) -> None:
    publish(database, {1: 10})
    publish(database, {1: 11})
    publish(database, {1: 12}, only=[1])
    outputs.rollback(database, "lists", "2026-01-02T00:00:00Z")
    assert content(database) == {1: 11}


def test_a_second_rollback_goes_further_back(database: Engine) -> None:
    for item in (10, 11, 12):
        publish(database, {1: item})
    outputs.rollback(database, "lists", "2026-01-02T00:00:00Z")
    assert content(database) == {1: 11}
    outputs.rollback(database, "lists", "2026-01-02T00:00:00Z")
    assert content(database) == {1: 10}


def test_there_is_nothing_to_roll_back_to_before_the_first_full_build_or_after_pruning(database: Engine) -> None:
    publish(database, {1: 10})
    with pytest.raises(OutputError, match="no full version before 1"):
        outputs.rollback(database, "lists", "2026-01-02T00:00:00Z")
    publish(database, {1: 11})
    spec, _ = outputs.find(database, "lists")
    outputs.prune(database, spec, oldest=2)
    with pytest.raises(OutputError, match="no full version before 2"):
        outputs.rollback(database, "lists", "2026-01-02T00:00:00Z")
    assert content(database) == {1: 11}
