"""Loading into canonical tables: the same facts on SQLite, PostgreSQL and MariaDB."""

import numpy as np
import pytest
from sqlalchemy import inspect

from db.bulk import Bulk
from db.canonical import row_counts
from db.engine import read as reading
from db.engine import write
from db.errors import LoadError, SchemaError
from db.load import load, load_columns
from db.sources import SourceSpec, read
from db.tables import canonical


@pytest.fixture(scope="module")
def database(bare_database):
    return bare_database


@pytest.fixture(autouse=True)
def empty(database):
    canonical.create(database, checkfirst=True)
    yield
    with write(database) as connection:
        for table in (
            "canonical",
            "ratings",
            "users",
            "feeds",
            "friendships",
            "messages",
            "clockmill_new_users",
            "clockmill_old_users",
        ):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")


@pytest.fixture
def csv_file(tmp_path):
    def write_lines(*lines):
        path = tmp_path / "data.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write_lines


def rows(database, source, *columns):
    found = read(database, SourceSpec(source), columns)
    return sorted(zip(*(found[c].tolist() for c in columns), strict=True))


def users(database):
    return [user for (user,) in rows(database, "users", "user_id")]


def tables(database):
    return set(inspect(database).get_table_names())


def test_the_first_load_makes_the_table(database, csv_file):
    path = csv_file("uid,sku,stars", "1,10,4.5", "2,10,3")
    loaded = load(database, "ratings", path, {"user_id": "uid", "product_id": "sku", "value": "stars"})
    assert (loaded.rows, loaded.inserted_or_updated, loaded.skipped) == (2, 2, 0)
    assert rows(database, "ratings", "user_id", "product_id", "value") == [(1, 10, 4.5), (2, 10, 3.0)]


def test_a_second_load_updates_and_adds(database, csv_file):
    load(database, "ratings", csv_file("user_id,product_id,value", "1,10,4.5", "2,10,3"))
    load(database, "ratings", csv_file("user_id,product_id,value", "2,10,5", "3,10,1"))
    assert rows(database, "ratings", "user_id", "value") == [(1, 4.5), (2, 5.0), (3, 1.0)]


def test_of_two_rows_of_one_key_the_later_wins(database, csv_file):
    load(database, "ratings", csv_file("user_id,product_id,value", "1,10,4.5", "1,10,2"))
    assert rows(database, "ratings", "value") == [(2.0,)]


def test_an_edge_given_twice_counts_once(database, csv_file):
    load(database, "friendships", csv_file("user_id,friend_id", "1,2", "1,2", "2,1"))
    assert rows(database, "friendships", "user_id", "friend_id") == [(1, 2), (2, 1)]


def test_what_a_file_lacks_stays_as_it_was(database, csv_file):
    load(database, "users", csv_file("user_id,at", "1,2026-03-08T07:00:00Z"))
    load(database, "users", csv_file("user_id", "1"))
    with reading(database) as connection:
        assert connection.exec_driver_sql("SELECT at FROM users").scalar() == "2026-03-08T07:00:00Z"


def test_one_id_that_is_no_canonical_decimal_makes_the_column_text(database, csv_file):
    load(database, "users", csv_file("user_id", "7", "007"))
    assert users(database) == ["007", "7"]


def test_both_ends_of_a_friendship_are_text_when_one_is(database, csv_file):
    load(database, "friendships", csv_file("user_id,friend_id", "1,x"))
    assert rows(database, "friendships", "user_id", "friend_id") == [("1", "x")]


def test_text_ids_are_told_apart_bytewise(database, csv_file):
    load(database, "users", csv_file("user_id", "a", "A", "a ", "å", "\U0001f600"))
    assert users(database) == sorted(["a", "A", "a ", "å", "\U0001f600"])


def test_text_ids_sort_bytewise(database, csv_file):
    load(database, "users", csv_file("user_id", "b", "a", "B", "å"))
    with reading(database) as connection:
        found = connection.exec_driver_sql("SELECT user_id FROM users ORDER BY user_id").scalars()
        assert list(found) == ["B", "a", "b", "å"]


def test_integers_go_into_a_text_column_as_text(database, csv_file):
    load(database, "users", csv_file("user_id", "x"))
    load(database, "users", csv_file("user_id", "7"))
    assert users(database) == ["7", "x"]


def test_text_ids_are_refused_by_an_integer_column(database, csv_file):
    load(database, "users", csv_file("user_id", "7"))
    with pytest.raises(LoadError, match=r'line 3, column "user_id": \'x\' is not an integer.*--replace'):
        load(database, "users", csv_file("user_id", "8", "x"))
    assert users(database) == [7]


def test_replace_changes_content_and_type(database, csv_file):
    load(database, "users", csv_file("user_id", "7"))
    load(database, "users", csv_file("user_id", "x", "y"), replace=True)
    assert users(database) == ["x", "y"]


def test_replace_of_the_same_type_changes_the_content(database, csv_file):
    load(database, "users", csv_file("user_id", "7", "8"))
    load(database, "users", csv_file("user_id", "9"), replace=True)
    assert users(database) == [9]


def test_replace_may_be_the_first_load(database, csv_file):
    load(database, "users", csv_file("user_id", "9"), replace=True)
    assert users(database) == [9]


def test_replace_leaves_no_other_table(database, csv_file):
    before = tables(database)
    load(database, "users", csv_file("user_id", "7"))
    load(database, "users", csv_file("user_id", "x"), replace=True)
    assert tables(database) - before == {"users"}


def test_a_replace_that_fails_halfway_keeps_the_old_content(database, csv_file, monkeypatch):
    load(database, "users", csv_file("user_id", "7", "8"))

    def fail(*arguments):
        raise LoadError("the disk is full")

    monkeypatch.setattr(Bulk, "insert", fail)
    with pytest.raises(LoadError, match="the disk is full"):
        load(database, "users", csv_file("user_id", "9"), replace=True)
    assert users(database) == [7, 8]


def test_an_empty_table_takes_any_type(database, csv_file):
    load(database, "users", csv_file("user_id"))
    load(database, "users", csv_file("user_id", "x"))
    assert users(database) == ["x"]


def test_rows_without_a_key_are_skipped_and_counted(database, csv_file):
    loaded = load(database, "ratings", csv_file("user_id,product_id,value", "1,10,4", ",10,4", "1,11,"))
    assert (loaded.rows, loaded.inserted_or_updated, loaded.skipped) == (3, 1, 2)


def test_a_bad_value_is_named_and_nothing_is_written(database, csv_file):
    path = csv_file("user_id,product_id,stars", "1,10,4", ",10,4", "1,11,four")
    with pytest.raises(LoadError, match=r'data\.csv, line 4, column "stars": \'four\' is not a finite number'):
        load(database, "ratings", path, {"value": "stars"})
    assert "ratings" not in tables(database)


def test_an_application_table_is_never_written(database, csv_file):
    with write(database) as connection:
        connection.exec_driver_sql("CREATE TABLE users (user_id BIGINT)")
    for replace in (False, True):
        with pytest.raises(LoadError, match=r'did not make the table "users".*\[sources\.users\] table'):
            load(database, "users", csv_file("user_id", "7"), replace=replace)
    assert users(database) == []


def test_an_application_table_in_the_place_of_clockmills_own_is_not_written_either(database, csv_file):
    load(database, "users", csv_file("user_id", "7"))
    with write(database) as connection:
        connection.exec_driver_sql("DROP TABLE users")
        connection.exec_driver_sql("CREATE TABLE users (user_id BIGINT, password VARCHAR(20))")
    with pytest.raises(LoadError, match="did not make"):
        load(database, "users", csv_file("user_id", "8"), replace=True)


def test_an_unknown_source_is_named(database, csv_file):
    with pytest.raises(LoadError, match='"user" is not a source that can be loaded; did you mean "users"'):
        load(database, "user", csv_file("user_id", "7"))


def test_before_the_upgrade_the_remedy_is_named(database, csv_file):
    canonical.drop(database)
    with pytest.raises(SchemaError, match="clockmill db upgrade"):
        load(database, "users", csv_file("user_id", "7"))


def test_marks_and_times_are_kept(database, csv_file):
    load(database, "messages", csv_file("message_id,sender_id,recipient_id,read,at", "1,2,3,true,881250949", "2,2,3,,"))
    assert rows(database, "messages", "message_id", "read") == [(1, True), (2, False)]
    with reading(database) as connection:
        assert (
            connection.exec_driver_sql("SELECT at FROM messages ORDER BY message_id").scalar() == "1997-12-04T15:55:49Z"
        )


def test_a_topic_has_several_feeds(database):
    urls = ["http://example.org/a?b=1&c=%20", "http://example.org/" + "a" * 400]
    load_columns(database, "feeds", {"topic": ["news", "news"], "url": urls})
    assert rows(database, "feeds", "url") == [(url,) for url in sorted(urls)]


def test_arrays_load_in_several_batches(database, monkeypatch):
    monkeypatch.setattr("db.files.BATCH", 400)
    told = []
    load_columns(database, "users", {"user_id": np.arange(1_000)}, progress=told.append)
    assert users(database) == list(range(1_000))
    assert (told, told[-1]) == (sorted(told), 1.0)
    assert len(set(told)) > 3


def test_the_registry_knows_the_rows(database, csv_file):
    load(database, "users", csv_file("user_id", "1", "2"))
    load(database, "users", csv_file("user_id", "2", "3"))
    load(database, "ratings", csv_file("user_id,product_id,value", "1,10,4"), replace=True)
    with reading(database) as connection:
        assert row_counts(connection) == {"users": 3, "ratings": 1}


def test_only_one_replace_at_a_time(database, csv_file):
    if database.dialect.name != "mysql":
        pytest.skip("only MySQL fills a table that others can see")
    with reading(database) as other:
        other.exec_driver_sql("SELECT get_lock(concat(database(), '.load.users'), 0)")
        with pytest.raises(LoadError, match="users is being replaced by another load"):
            load(database, "users", csv_file("user_id", "7"), replace=True)
        other.exec_driver_sql("SELECT release_lock(concat(database(), '.load.users'))")


@pytest.mark.parametrize("as_id", [int, lambda n: f"p{n:03}"])
def test_rows_in_any_order_and_number_arrive_once_the_last_of_each_key(database, monkeypatch, as_id):
    for name, value in (("db.files.BATCH", 64), ("db.spool.SORTED_AT_ONCE", 100), ("db.spool.IN_MEMORY", 1_000)):
        monkeypatch.setattr(name, value)
    random = np.random.default_rng(3)
    user, product = random.integers(0, 40, 900).tolist(), [as_id(n) for n in random.integers(0, 40, 900).tolist()]
    value = random.random(900).tolist()
    wanted = dict(zip(zip(user, product, strict=True), value, strict=True))
    for _ in range(2):  # into no table, then into one that has them
        load_columns(database, "ratings", {"user_id": user, "product_id": product, "value": value})
        found = rows(database, "ratings", "user_id", "product_id", "value")
        assert found == sorted((*pair, mark) for pair, mark in wanted.items())
    with reading(database) as connection:
        assert row_counts(connection) == {"ratings": len(wanted)}


def test_instants_told_in_several_ways_are_kept_alike(database):
    instants = ["2026-03-08T07", "2026-03-08T07:00:00.25", "NaT", "1969-12-31T23"]
    load_columns(
        database,
        "users",
        {"user_id": [1, 2, 3, 4], "at": np.array(instants, "M8[ms]")},
    )
    load_columns(database, "users", {"user_id": [5], "at": np.array([881250949])})
    with reading(database) as connection:
        kept = [row[0] for row in connection.exec_driver_sql("SELECT at FROM users ORDER BY user_id")]
    assert kept == [
        "2026-03-08T07:00:00Z", "2026-03-08T07:00:00.250000Z", None, "1969-12-31T23:00:00Z", "1997-12-04T15:55:49Z"
    ]  # fmt: skip


def test_a_view_of_the_application_stays_a_view_of_the_table(database, csv_file):
    load(database, "users", csv_file("user_id", "7"))
    with write(database) as connection:
        connection.exec_driver_sql("CREATE VIEW members AS SELECT user_id FROM users")
    load(database, "users", csv_file("user_id", "8"), replace=True)
    with write(database) as connection:
        seen = connection.exec_driver_sql("SELECT user_id FROM members").all()
        connection.exec_driver_sql("DROP VIEW members")
    assert [row[0] for row in seen] == [8]


def test_an_index_of_the_application_stays(database, csv_file):
    load(database, "users", csv_file("user_id,at", "7,2026-03-08"))
    with write(database) as connection:
        connection.exec_driver_sql("CREATE INDEX by_time ON users (at)")
    load(database, "users", csv_file("user_id,at", "8,2026-03-09"), replace=True)
    assert [index["name"] for index in inspect(database).get_indexes("users")] == ["by_time"]
    assert users(database) == [8]


def test_what_a_killed_load_left_behind_is_no_hindrance(database, csv_file):
    if database.dialect.name == "postgresql":
        pytest.skip("a temporary table goes with its session")
    with write(database) as connection:
        connection.exec_driver_sql("CREATE TABLE clockmill_new_users (user_id BIGINT PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO clockmill_new_users VALUES (1), (2), (3)")
    before = tables(database)
    load(database, "users", csv_file("user_id", "7"))
    assert (users(database), before - tables(database)) == ([7], {"clockmill_new_users"})


def test_rows_that_somebody_wrote_into_the_empty_table_meanwhile_stay(database, csv_file):
    load(database, "users", csv_file("user_id"))

    def intrude(share):
        with write(database) as connection:
            connection.exec_driver_sql("DELETE FROM users")
            connection.exec_driver_sql("INSERT INTO users (user_id) VALUES (1)")

    load_columns(database, "users", {"user_id": [7]}, progress=lambda share: share < 0.5 and intrude(share))
    assert users(database) == [1, 7]
