"""News as events: one for each topic that has something new."""

from types import SimpleNamespace

from jobs.news import tell_new


def told(before, now):
    heard = []
    emit = lambda type, data, key, keep: heard.append((type, data["new"], data["titles"], key, keep))  # noqa: E731
    tell_new(SimpleNamespace(emit=emit), before, now)
    return heard


def item(topic, guid):
    return {"topic": topic, "feed": "f", "guid": guid, "title": f"title {guid}"}


def test_each_topic_with_new_items_is_told_once_and_may_pass_unheard():
    before = [item("sports", "1")]
    now = [item("sports", "1"), item("sports", "2"), item("sports", "3"), item("weather", "1")]
    assert told(before, now) == [
        ("news.sports", 2, ["title 2", "title 3"], "sports", False),
        ("news.weather", 1, ["title 1"], "weather", False),
    ]


def test_nothing_new_is_not_told():
    assert told([item("sports", "1")], [item("sports", "1")]) == []


def test_a_topic_that_is_no_word_becomes_one():
    assert told([], [item("World news: A.B", "1")])[0][0] == "news.World-news-A-B"
