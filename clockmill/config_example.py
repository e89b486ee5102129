"""The commented configuration that `clockmill init` writes and the repository shows: each with its default."""

import json
from typing import Any

from clockmill.config import COUNTER, JOB, SOURCE, TABLES, Table

HEAD = """\
# clockmill.toml: every setting. A line that begins with "# " and a key shows the default; remove the "# " to change it.
# A variable overrides a setting: CLOCKMILL_REDIS__URL is [redis] url. See: clockmill config show --origin
"""

JOBS = """\
# [jobs.recommendations]            # a built-in job, or one of yours: overrides its decorator
# schedule = "15 3 * * *"
# timezone = "Europe/Oslo"
# timeout = "30m"
# params = { weighting = "adamic_adar", k = 20 }

# [jobs.nightly-export]             # a command job
# command = ["/usr/bin/env", "bash", "export.sh"]
# schedule = "@every 6h"
# retries = 2
"""
SOURCES = """\
# [sources.ratings]                 # your own table, read and never written
# table = "shop.reviews"
# columns = { user_id = "uid", product_id = "sku", value = "stars", at = "created_at" }
# where = "deleted_at IS NULL"
"""
COUNTERS = """\
# [counters.posts_by_author]        # a counter needs no Python
# query = "SELECT author_id AS key, count(*) AS value FROM articles GROUP BY 1"
"""


def render(values: dict[str, dict[str, Any]] | None = None) -> str:
    """The file's text; `values` are set, everything else stays a comment."""
    given = values or {}
    parts = [HEAD, *(_table(name, table, given.get(name, {})) for name, table in TABLES.items())]
    parts += [_keys("jobs.NAME", JOB) + JOBS, _keys("sources.NAME", SOURCE) + SOURCES]
    parts += [_keys("counters.NAME", COUNTER) + COUNTERS]
    return "\n".join(parts)


def _table(name: str, table: Table, given: dict[str, Any]) -> str:
    lines = [f"[{name}]"]
    for key, (_, default, sentence) in table.items():
        if key == "*":
            lines.append(f"# {sentence}")
            continue
        setting = f"{key} = {_toml(given.get(key, default))}"
        lines.append(f"{'' if key in given else '# '}{setting:<40} # {sentence}")
    return "\n".join(lines) + "\n"


def _keys(name: str, table: Table) -> str:
    lines = [f"# Keys of [{name}]:"]
    lines += [f"#   {key:<16} {sentence}" for key, (_, _, sentence) in table.items()]
    return "\n".join(lines) + "\n#\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    # JSON's texts, numbers, booleans and lists of these are TOML as well.
    return json.dumps(value, ensure_ascii=False)
