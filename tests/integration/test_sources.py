"""Reading mapped tables: the same facts on SQLite, PostgreSQL and MariaDB."""

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.engine import read as reading
from db.engine import write
from db.errors import DatabaseUnavailable, SourceError
from db.sources import SourceSpec, check, expand, preview, read, read_only

REVIEWS = SourceSpec("ratings", table="reviews", columns={"user_id": "uid", "product_id": "sku", "value": "stars"})


@pytest.fixture(scope="module")
def database(bare_database):
    return bare_database


@pytest.fixture(scope="module", autouse=True)
def shop(database):
    with write(database) as connection:
        connection.exec_driver_sql(
            "CREATE TABLE reviews (uid BIGINT, sku VARCHAR(20), stars DECIMAL(3,1), created TIMESTAMP NULL, gone INT)"
        )
        connection.execute(text(
            "INSERT INTO reviews VALUES (1, 'p1', 4.5, '2026-03-08 07:00:00', 0), (2, 'p1', 3, NULL, 0), "
            "(NULL, 'p2', 1, NULL, 0), (3, '100%', 2, NULL, 1)"
        ))  # fmt: skip
        connection.exec_driver_sql('CREATE TABLE "Odd table" ("user id" BIGINT, "key" BIGINT)')
        connection.exec_driver_sql('INSERT INTO "Odd table" VALUES (7, 8)')


def test_a_mapped_table_is_read_into_arrays(database):
    ratings = read(database, REVIEWS, ["user_id", "product_id", "value"])
    assert (ratings["user_id"].dtype, ratings["value"].dtype) == (np.int64, np.float64)
    assert sorted(zip(*(ratings[c].tolist() for c in ratings), strict=True)) == [
        (1, "p1", 4.5), (2, "p1", 3.0), (3, "100%", 2.0),
    ]  # fmt: skip


def test_a_row_without_a_key_is_counted(database):
    ratings = read(database, REVIEWS, ["user_id", "value"])
    assert (ratings.rows, ratings.skipped_null) == (3, 1)


def test_where_leaves_rows_out(database):
    spec = SourceSpec(
        "ratings", table="reviews", columns=REVIEWS.columns, where="gone = 0 AND sku LIKE 'p%' -- only ours"
    )
    assert read(database, spec, ["user_id"]).rows == 2


def test_a_query_is_a_source(database):
    spec = SourceSpec("users", query="SELECT DISTINCT uid FROM reviews", columns={"user_id": "uid"})
    assert sorted(read(database, spec, ["user_id"])["user_id"].tolist()) == [1, 2, 3]


def test_a_query_may_hold_a_percent_sign_and_a_colon(database):
    spec = SourceSpec("users", query="SELECT uid AS user_id FROM reviews WHERE sku = '100%' AND '12:30' <> ':x'")
    assert read(database, spec, ["user_id"])["user_id"].tolist() == [3]


def test_batches_give_what_one_answer_gives(database):
    told = []
    ratings = read(database, REVIEWS, ["user_id"], batch=3, progress=told.append)
    assert (sorted(ratings["user_id"].tolist()), told) == ([1, 2, 3], [3, 4])


def test_times_are_instants(database):
    spec = SourceSpec("ratings", table="reviews", columns={**REVIEWS.columns, "at": "created"})
    times = read(database, spec, ["user_id", "at"])["at"]
    assert sorted(times.astype(str).tolist()) == ["2026-03-08T07:00:00.000000", "NaT", "NaT"]


def test_odd_names_are_quoted(database):
    spec = SourceSpec("friendships", table="Odd table", columns={"user_id": "user id", "friend_id": "key"})
    assert read(database, spec, ["user_id", "friend_id"])["friend_id"].tolist() == [8]


def test_a_source_of_ones_own_naming_has_its_own_columns(database):
    visits = read(database, SourceSpec("visits", table="reviews"), ["uid", "sku"])
    assert visits["sku"].tolist() == ["p1", "p1", "p2", "100%"]


def test_an_unmapped_source_without_a_table_is_empty(database):
    likes = read(database, SourceSpec("likes"), ["user_id", "post_id"])
    assert (likes.rows, likes["user_id"].dtype) == (0, np.int64)
    check(database, SourceSpec("likes"))
    assert preview(database, SourceSpec("likes"), 5) == []


def test_a_missing_table_names_those_that_exist(database):
    with pytest.raises(
        SourceError, match=r'\[sources.ratings\] table: there is no table "review"; did you mean "reviews"'
    ):
        read(database, SourceSpec("ratings", table="review"), ["value"])


def test_a_missing_schema_is_a_missing_table(database):
    with pytest.raises(SourceError, match=r'there is no table "shop\.reviews"; it has none'):
        check(database, SourceSpec("ratings", table="shop.reviews"))


@pytest.mark.parametrize("origin", [{"table": "reviews"}, {"query": "SELECT * FROM reviews"}])
def test_a_missing_column_names_those_that_exist(database, origin):
    spec = SourceSpec("ratings", columns={**REVIEWS.columns, "value": "star"}, **origin)
    with pytest.raises(SourceError) as error:
        read(database, spec, ["value"])
    assert str(error.value).startswith("[sources.ratings] columns.value: the ")
    assert str(error.value).endswith(
        'has no column "star"; did you mean "stars"?; it has uid, sku, stars, created, gone; '
        "set columns.value to the one that is meant"
    )


def test_check_looks_at_required_columns_that_nobody_mapped(database):
    with pytest.raises(SourceError, match=r"columns\.value"):
        check(database, SourceSpec("ratings", table="reviews", columns={"user_id": "uid", "product_id": "sku"}))


def test_check_passes_a_good_mapping(database):
    check(database, REVIEWS)


def test_check_lets_the_database_read_the_where(database):
    with pytest.raises(SourceError, match=r"\[sources.ratings\] where: the database refuses it: .*nowhere"):
        check(database, SourceSpec("ratings", table="reviews", columns=REVIEWS.columns, where="nowhere.x = 1"))


def test_preview_shows_rows_as_jobs_see_them(database):
    rows = preview(database, REVIEWS, 1)
    assert [(row["user_id"], row["product_id"], float(row["value"])) for row in rows] == [(1, "p1", 4.5)]


@pytest.mark.parametrize("alias", ["", " AS r"])
def test_an_expanded_query_runs(database, alias):
    sql = expand(f"SELECT product_id AS name, count(*) AS n FROM {{ratings}}{alias} GROUP BY 1 ORDER BY 2 DESC",
                 {"ratings": REVIEWS}, database)  # fmt: skip
    with read_only(database) as connection:
        assert connection.exec_driver_sql(sql).fetchone() == ("p1", 2)


def test_an_expanded_source_without_a_table_counts_nothing(database):
    sql = expand("SELECT count(*), sum(value) FROM {ratings} WHERE value > 1 AND at > ''", {}, database)
    messages = expand("SELECT count(*) FROM {messages} WHERE NOT read", {}, database)
    with read_only(database) as connection:
        assert connection.exec_driver_sql(sql).fetchone() == (0, None)
        assert connection.exec_driver_sql(messages.replace("NOT read", 'NOT "read"')).scalar() == 0


def test_the_database_itself_refuses_to_write(database):
    with pytest.raises((DBAPIError, DatabaseUnavailable)), read_only(database) as connection:
        connection.exec_driver_sql("DELETE FROM reviews")
    with reading(database) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM reviews").scalar() == 4


def test_the_connection_can_write_again_afterwards(database):
    read(database, REVIEWS, ["value"])
    with write(database) as connection:
        assert connection.exec_driver_sql("UPDATE reviews SET gone = 1 WHERE uid = 3").rowcount == 1


def test_a_write_hidden_in_a_select_is_refused(database):
    if database.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has writes inside WITH")
    spec = SourceSpec("users", query="WITH gone AS (DELETE FROM reviews RETURNING uid) SELECT uid AS user_id FROM gone")
    with pytest.raises(SourceError, match=r"WITH clause containing a data-modifying|read-only"):
        read(database, spec, ["user_id"])


def test_a_type_of_postgresql_that_the_driver_does_not_know_comes_as_text(database):
    if database.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has types of one's own")
    with write(database) as connection:
        connection.exec_driver_sql("CREATE TYPE mood AS ENUM ('sixteen_letters_', 'sad')")
        connection.exec_driver_sql("CREATE TABLE moods (mood mood)")
        connection.exec_driver_sql("INSERT INTO moods VALUES ('sad'), ('sixteen_letters_')")
    spec = SourceSpec("users", table="moods", columns={"user_id": "mood"})
    assert sorted(read(database, spec, ["user_id"])["user_id"].tolist()) == ["sad", "sixteen_letters_"]
