from sqlalchemy import Engine

from db.load import load_columns
from db.sources import SourceSpec, expand, read
from jobs.counters import SHIPPED


def counted(database: Engine, name: str) -> dict[str, float]:
    query = expand(SHIPPED[name], {}, database)
    rows = read(database, SourceSpec(name, query=query), ["key", "value"])
    return {str(key): float(value) for key, value in zip(rows["key"].tolist(), rows["value"].tolist(), strict=True)}


def test_every_shipped_counter_counts_nothing_before_anything_was_loaded(database: Engine) -> None:
    totals = {name: counted(database, name) for name in SHIPPED}
    assert totals == {
        "users": {"total": 0},
        "posts": {"total": 0},
        "messages": {"total": 0},
        "likes": {"total": 0},
        "posts_by_user": {},
        "unread_by_user": {},
        "friends_by_user": {},
    }


def test_shipped_counters_count_by_user(database: Engine) -> None:
    load_columns(database, "posts", {"post_id": [1, 2, 3], "user_id": [7, 7, 8]})
    messages = {"message_id": [1, 2, 3, 4], "sender_id": [7, 7, 7, 8], "recipient_id": [8, 8, 9, 7]}
    load_columns(database, "messages", {**messages, "read": [True, False, None, True]})
    assert counted(database, "posts") == {"total": 3}
    assert counted(database, "posts_by_user") == {"7": 2, "8": 1}
    assert counted(database, "unread_by_user") == {"8": 1, "9": 1}


def test_a_friendship_given_twice_or_with_oneself_counts_once_or_not_at_all(database: Engine) -> None:
    load_columns(database, "friendships", {"user_id": [1, 2, 3, 1], "friend_id": [2, 1, 3, 3]})
    assert counted(database, "friends_by_user") == {"1": 2, "2": 1, "3": 1}
