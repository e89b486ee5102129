"""What jobs count while they work stands or falls with their runs."""

import pytest

from clockmill import config, doors
from clockmill.bodies import executors_of
from clockmill.mill import Mill
from clockmill.runner import Runner
from db import tallies
from db.engine import write

JOBS = """
from clockmill import Context, JobError, job


@job(params={"how": "well"})
def post(ctx: Context) -> None:
    ctx.counter("mails", 2)
    ctx.counter("mails")
    ctx.counter("mails_to", key=42)
    if ctx.params["how"] == "fail":
        raise JobError("no stamps")
    if ctx.params["how"] == "odd":
        ctx.counter("mails", float("nan"))
"""


@pytest.fixture
def mill(database_url, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "post.py").write_text(JOBS)
    tables = {"redis": {"url": "none"}, "scheduler": {"job_folders": ["jobs"]}}
    return Mill(config.merge(tmp_path, None, {"database": {"url": database_url}, **tables}, {}))


@pytest.fixture
def runner(mill):
    executors = executors_of(mill)
    yield Runner(mill, executors)
    executors.close()


def run(runner, job, **params):
    spec, mill = runner.mill.registry.get(job), runner.mill
    return doors.stay(runner, doors.manual_run(mill, spec, params, forced=False, now=mill.now()), spec).run


def counted(mill):
    return [(row.name, row.key, row.value) for row in tallies.everything(mill.engine)]


def test_what_a_run_counted_is_added_when_it_succeeds(runner):
    assert [run(runner, "post").state for _ in range(2)] == ["succeeded", "succeeded"]
    assert counted(runner.mill) == [("mails", "total", 6), ("mails_to", "42", 2)]


def test_what_a_failed_run_counted_never_was(runner):
    assert run(runner, "post", how="fail").state == "failed"
    assert counted(runner.mill) == []


def test_what_is_no_number_is_refused(runner):
    ended = run(runner, "post", how="odd")
    assert ended.reason == "counter mails: nan cannot be added; expected a finite number"


def test_the_counters_job_publishes_what_others_counted(runner, mill):
    run(runner, "post")
    assert run(runner, "counters").state == "succeeded"
    with write(mill.engine) as connection:
        query = "SELECT name, key, value FROM counters_current WHERE name LIKE 'mails%' ORDER BY name"
        if mill.engine.dialect.name != "sqlite":
            query = query.replace("key", mill.engine.dialect.identifier_preparer.quote("key"))
        rows = connection.exec_driver_sql(query.replace("%", "%%")).all()
    assert [tuple(row) for row in rows] == [("mails", "total", 3.0), ("mails_to", "42", 1.0)]
