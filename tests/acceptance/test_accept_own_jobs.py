"""A job of the user's own: a file, an installed package, a command line. It is published as the built-in ones are."""

import json
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

BEST_SELLERS = """
import numpy as np

from clockmill import Context, Output, job


@job(
    schedule="*/10 * * * *",
    timeout="5m",
    params={"most": 2},
    outputs=[
        Output(
            "best_sellers",
            key="shop",
            order="rank",
            item="product_id",
            score="sold",
            columns={"shop": "id", "rank": "int", "product_id": "id", "sold": "float"},
            redis="json",
        )
    ],
)
def best_sellers(ctx: Context) -> None:
    rows = ctx.select(
        "best_sellers",
        "SELECT shop, product_id, sum(pieces) AS sold FROM {orders} GROUP BY 1, 2 ORDER BY 1, 3 DESC",
        ["shop", "product_id", "sold"],
        ctx.settings("sources")["orders"]["url"],
    )
    shops = rows["shop"].tolist()
    rank = np.array([i - shops.index(shop) + 1 for i, shop in enumerate(shops)])
    kept = rank <= ctx.params["most"]
    ctx.publish("best_sellers", {"rank": rank[kept], **{name: column[kept] for name, column in rows.items()}})
    ctx.log(f"{kept.sum()} best sellers")
"""
CONFIGURATION = """
[scheduler]
job_folders = ["my_jobs"]

[sources.orders]
url = "sqlite:///shop.db"
table = "orders"
columns = { shop = "shop", product_id = "sku", pieces = "pieces" }
"""
ORDERS = [("oslo", 1, 3), ("oslo", 2, 5), ("oslo", 3, 1), ("oslo", 1, 1), ("bergen", 3, 2)]


@pytest.fixture
def shop(clockmill):
    """A home with the job's file and a small application; its Redis ends with the test."""
    clockmill.configure(CONFIGURATION, redis="embedded")
    clockmill.write("my_jobs/best_sellers.py", BEST_SELLERS)
    with closing(sqlite3.connect(clockmill.folder / "shop.db")) as application:
        application.execute("CREATE TABLE orders (shop TEXT, sku INTEGER, pieces INTEGER)")
        application.executemany("INSERT INTO orders VALUES (?, ?, ?)", ORDERS)
        application.commit()
    yield clockmill
    if (socket := clockmill.folder / "var" / "redis" / "redis.sock").exists():
        with closing(Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0))) as redis:
            redis.shutdown(nosave=True)


def test_a_file_in_a_job_folder_publishes_to_sql_and_redis(shop):
    run = shop("run", "best_sellers", "--json").json
    assert (run["state"], run["rows_in"], run["rows_out"], run["version"]) == ("succeeded", 4, 3, 1)
    rows = shop.query("SELECT shop, rank, product_id, sold FROM best_sellers_current ORDER BY shop, rank")
    assert [tuple(row) for row in rows] == [("bergen", 1, 3, 2.0), ("oslo", 1, 2, 5.0), ("oslo", 2, 1, 4.0)]
    with closing(Redis(unix_socket_path=str(shop.folder / "var" / "redis" / "redis.sock"))) as redis:
        value = json.loads(redis.get("cm:app:best_sellers:oslo"))
        assert redis.ttl("cm:app:best_sellers:oslo") == -1
    assert (value["v"], value["items"]) == (1, [[2, 5.0, {}], [1, 4.0, {}]])
    assert shop("outputs", "get", "best_sellers", "oslo", "--json").json["items"] == value["items"]
    assert shop("runs", "logs", run["run_id"]).out == "3 best sellers\n"


def test_settings_and_the_command_line_override_the_decorator(shop):
    shop.configure(f'{CONFIGURATION}[jobs.best_sellers]\nschedule = "0 4 * * *"\nparams = {{ most = 1 }}')
    assert shop("jobs", "show", "best_sellers", "--json").json["schedule"] == ["0 4 * * *"]
    shop("run", "best_sellers")
    shop("run", "best_sellers", "-p", "most=3")
    counts = shop.query("SELECT version, rows FROM publications WHERE output = 'best_sellers' ORDER BY version")
    assert [tuple(row) for row in counts] == [(1, 2), (2, 4)]


def test_a_job_that_fails_half_way_leaves_the_last_version_as_it_was(shop):
    shop("run", "best_sellers")
    failing = BEST_SELLERS.replace('    ctx.log(f"', '    raise ValueError(f"after ')
    shop.write("my_jobs/best_sellers.py", failing)
    shop("run", "best_sellers", "-p", "most=1", "--json", code=1)
    assert shop.runs("best_sellers")[0]["reason"] == "ValueError: after 2 best sellers"
    assert shop("outputs", "get", "best_sellers", "oslo", "--json").json["version"] == 1
    assert len(shop.query("SELECT * FROM best_sellers_current")) == 3


def test_a_run_asked_for_by_an_application_is_carried_out_by_the_daemon(shop):
    shop.daemon()
    script = (
        "from clockmill import client; run = client.send('best_sellers', most=1); "
        "print(run.wait(30)); print(client.best_sellers('oslo'))"
    )
    asked = shop.execute(shop.binaries / "python", "-c", script).end()
    assert asked.out == "succeeded\n[[2, 5.0, {}]]\n"


def test_up_brings_its_redis_and_leaves_it_filled(shop):
    shop("run", "best_sellers")
    with closing(Redis(unix_socket_path=str(shop.folder / "var" / "redis" / "redis.sock"))) as redis:
        redis.flushall()
        up = shop.start("up")
        shop.wait_until(lambda: redis.get("cm:app:best_sellers:oslo"), timeout=15)
    up.send(15)
    assert "Redis: unix://" in up.end().err


@pytest.fixture
def installed_package(binaries, tmp_path):
    """A distribution with one job and the entry point that names it, installed beside clockmill."""
    wheel = tmp_path / "acme_jobs-1.0-py3-none-any.whl"
    info = "acme_jobs-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("acme_jobs.py", "from clockmill import job\n\n@job()\ndef greet(ctx):\n    ctx.log('hello')\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: acme-jobs\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[clockmill.jobs]\ngreet = acme_jobs\n")
        archive.writestr(f"{info}/RECORD", "")
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(binaries / "python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    yield
    subprocess.run([*pip, "uninstall", "--yes", "acme-jobs"], check=True)


@pytest.mark.usefixtures("installed_package")
def test_an_installed_package_brings_jobs_by_its_entry_point(clockmill):
    run = clockmill("run", "greet", "--json").json
    assert clockmill("runs", "logs", run["run_id"]).out == "hello\n"


def test_a_command_in_the_configuration_is_a_job_and_knows_which_run_it_is(clockmill):
    variables = ("RUN_ID", "JOB", "SLOT", "ATTEMPT", "FENCE", "IDEMPOTENCY_KEY")
    script = "; ".join(f"echo $CLOCKMILL_{name}" for name in variables)
    clockmill.configure(f'[jobs.nightly-export]\ncommand = ["sh", "-c", "{script}"]\nschedule = "@every 6h"')
    clockmill("run", "nightly-export", "--slot", "2026-03-08T06:00:00Z")
    (run,) = clockmill.runs("nightly-export")
    told = clockmill("runs", "logs", run["run_id"]).out.split("\n")
    assert told[:6] == [
        str(run["run_id"]),
        "nightly-export",
        "2026-03-08T06:00:00Z",
        "1",
        str(run["fence"]),
        "nightly-export/c:2026-03-08T06:00:00Z",
    ]


def test_what_runs_is_the_installed_wheel(clockmill):
    script = "import clockmill, db, jobs, scheduler; print(*(m.__file__ for m in (clockmill, db, jobs, scheduler)))"
    found = clockmill.execute(clockmill.binaries / "python", "-c", script).end().out.split()
    venv = str(clockmill.binaries.parent)
    assert [file.startswith(venv) for file in found] == [True] * 4
