import subprocess
import sys

import pytest

from db.errors import SourceError
from db.sources import CANONICAL, SourceSpec, expand, select, single_select

REVIEWS = SourceSpec(
    "ratings",
    table="shop.reviews",
    columns={"user_id": "uid", "product_id": "sku", "value": "stars"},
    where="deleted_at IS NULL",
)


def flat(sql):
    return " ".join(sql.split())


def test_importing_the_sources_imports_no_numpy():
    done = subprocess.run([sys.executable, "-c", "import db.sources, sys; sys.exit('numpy' in sys.modules)"])
    assert done.returncode == 0


def test_the_canonical_sources_are_those_of_the_manual():
    social = ["users", "posts", "messages", "likes", "friendships"]
    assert list(CANONICAL) == [*social, "products", "ratings", "places", "feeds"]


def test_times_and_names_may_be_missing():
    optional = {c for shape in CANONICAL.values() for c in set(shape.columns) - shape.required}
    assert optional == {"at", "read", "name"}


def test_a_mapped_table_is_selected_under_canonical_names():
    assert flat(select(REVIEWS)) == (
        'SELECT "uid" AS "user_id", "sku" AS "product_id", "stars" AS "value" '
        'FROM "shop"."reviews" WHERE ( deleted_at IS NULL )'
    )


def test_a_mapped_query_is_wrapped_whole():
    spec = SourceSpec("users", query="SELECT id FROM people -- all of them", columns={"user_id": "id"})
    assert select(spec) == 'SELECT "id" AS "user_id" FROM (SELECT id FROM people -- all of them\n) AS clockmill_source'


def test_a_quote_in_a_name_is_doubled():
    assert select(SourceSpec("users", table='a"b')) == 'SELECT * FROM "a""b"'


def test_a_placeholder_becomes_the_source_named_after_itself():
    sql = expand("SELECT count(*) FROM {ratings} WHERE value > 3", {"ratings": SourceSpec("ratings", table="r")})
    assert sql == 'SELECT count(*) FROM (SELECT * FROM "r") AS "ratings" WHERE value > 3'


@pytest.mark.parametrize("alias", ["AS p", "as p", "p", '"p"'])
def test_a_placeholder_that_the_query_names_keeps_that_name(alias):
    sql = expand("SELECT 1 FROM {posts} " + alias + " JOIN {likes} USING (post_id)", {})
    assert (
        sql == f'SELECT 1 FROM (SELECT * FROM "posts") {alias} JOIN (SELECT * FROM "likes") AS "likes" USING (post_id)'
    )


def test_an_unknown_placeholder_names_the_known_ones():
    with pytest.raises(
        SourceError, match=r'\{post\}: no such source; did you mean "posts"\?; known: feeds, friendships,'
    ):
        expand("SELECT 1 FROM {post}", {})


def test_a_source_of_ones_own_is_a_placeholder_too():
    assert '"visits_2026"' in expand("SELECT 1 FROM {visits}", {"visits": SourceSpec("visits", table="visits_2026")})


@pytest.mark.parametrize(
    "query", ["SELECT 1", "select 1", " -- why\n/* and\n how */ SELECT 1", "WITH a AS (SELECT 1) SELECT * FROM a"]
)
def test_a_select_is_accepted(query):
    single_select(query, "query")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DELETE FROM users", 'begins with "DELETE"'),
        ("SELECT 1; DROP TABLE users", "has a semicolon"),
        ("-- SELECT 1", 'begins with ""'),
        ("SELECTED", 'begins with "SELECTED"'),
        ("", 'begins with ""'),
    ],
)
def test_anything_but_one_select_is_refused(query, said):
    with pytest.raises(SourceError, match=rf"\[counters.x\] query: {said}"):
        single_select(query, "[counters.x] query")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (SourceSpec("users", table="a", query="SELECT 1"), "[sources.users]: has both table and query"),
        (SourceSpec("users", where="1 = 1; DROP TABLE users"), "[sources.users] where: has a semicolon"),
        (SourceSpec("users", query="VACUUM"), '[sources.users] query: begins with "VACUUM"'),
        (SourceSpec("users", table="a.b.c"), '[sources.users] table: "a.b.c" has too many dots'),
        (SourceSpec("frendships"), '[sources.frendships]: no such source; did you mean "friendships"?'),
        (SourceSpec("users", table="a", columns={"usr_id": "x"}), '[sources.users] columns.usr_id: no such column'),
    ],
)  # fmt: skip
def test_a_mapping_that_cannot_be_meant_names_its_key(spec, said):
    with pytest.raises(SourceError) as error:
        select(spec)
    assert str(error.value).startswith(said)
