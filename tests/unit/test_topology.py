"""The topology as data: what is there for whom, and how runs find workers with what they need."""

import pytest

from clockmill import config
from clockmill.errors import ConfigError
from clockmill.exchange import topology as t
from clockmill.exchange.broker import check_url, masked, nodes, opened
from clockmill.exchange.declaring import check, declare, queue_arguments
from clockmill.exchange.plan import hands, labels, topology_of
from clockmill.handler_spec import check_patterns, on
from clockmill.mill import Mill


def queue(found, name):
    return next(one for one in found.queues if one.name == name)


def matches(binding, headers):
    """As a headers exchange decides."""
    wanted = {name: value for name, value in binding.items() if name != "x-match"}
    met = [headers.get(name) == value for name, value in wanted.items()]
    return all(met) if binding["x-match"] == "all" else any(met)


def test_every_queue_of_work_has_a_limit_and_a_place_for_its_dead_letters():
    found = t.topology([("note", ["app.#"], False)], [("bill", ["app.order.*"])], ["heavy"])
    for one in found.queues:
        if one.name.startswith((t.HANDLER, t.POOL, t.TRIGGER)) or one.name == t.REQUESTS:
            assert one.arguments["x-dead-letter-exchange"] == t.DEAD
            kind = one.arguments["x-queue-type"]
            assert kind == "classic" if one.name.endswith(".priority") else one.arguments["x-delivery-limit"] == 20


def test_a_handler_in_order_has_one_consumer_at_a_time():
    found = t.topology([("note", ["app.#"], True), ("count", ["app.like.*", "app.dislike.*"], False)])
    assert queue(found, "clockmill.on.note").arguments["x-single-active-consumer"] is True
    count = queue(found, "clockmill.on.count")
    assert "x-single-active-consumer" not in count.arguments
    assert [binding.key for binding in count.bindings] == ["app.like.*", "app.dislike.*"]


def test_a_retry_waits_in_a_queue_whose_messages_go_back_to_where_they_came_from():
    waits = t.retry_queue(30)
    assert waits.arguments["x-message-ttl"] == 30_000
    assert waits.arguments["x-dead-letter-exchange"] == ""
    assert "x-dead-letter-routing-key" not in waits.arguments


def test_the_last_delay_stands_for_all_that_follow():
    assert [t.retry_delay(attempt) for attempt in (1, 2, 3, 5, 6, 100)] == [1, 5, 30, 600, 600, 600]


LABELS = ("gpu", "big-memory", "licence")


@pytest.mark.parametrize(
    ("needs", "reached"),
    [
        ((), {"plain", "gpu", "gpu and memory"}),
        (("gpu",), {"gpu", "gpu and memory"}),
        (("gpu", "big-memory"), {"gpu and memory"}),
        (("licence",), set()),
    ],
)
def test_a_run_reaches_the_workers_that_offer_all_it_needs(needs, reached):
    offers = {"plain": (), "gpu": ("gpu",), "gpu and memory": ("big-memory", "gpu")}
    headers = t.needs_headers(needs, LABELS)
    assert {
        name for name, offer in offers.items() if matches(t.offer_queue(offer, LABELS).bindings[0].arguments, headers)
    } == reached


def test_a_worker_may_take_whatever_needs_one_of_its_offers():
    binding = t.offer_queue(("gpu", "licence"), LABELS, match="any").bindings[0].arguments
    assert matches(binding, t.needs_headers(("licence", "big-memory"), LABELS))
    assert not matches(binding, t.needs_headers(("big-memory",), LABELS))


def test_a_need_that_nobody_can_offer_is_refused_with_the_known_labels():
    with pytest.raises(ValueError, match=r'no worker can offer "tpu"; \[broker\] labels: gpu, big-memory, licence'):
        t.needs_headers(("tpu",), LABELS)


def test_newer_brokers_are_told_that_dead_letters_have_no_limit():
    dead = queue(t.topology(), t.DEAD)
    assert "x-delivery-limit" not in queue_arguments(dead, (3, 13, 0))
    assert queue_arguments(dead, (4, 1, 0))["x-delivery-limit"] == -1


def test_the_password_of_a_broker_is_never_shown():
    assert masked("amqp://guest:s3@c/ret@host:5672/v") == "amqp://guest:***@host:5672/v"


def test_the_passwords_of_all_nodes_are_hidden_and_their_hosts_are_not():
    cluster = "amqp://guest:s3@c/r;et@one:5672/v ; amqps://guest:s3@two"
    assert masked(cluster) == "amqp://guest:***@one:5672/v;amqps://guest:***@two"


def test_a_cluster_is_as_many_urls_and_each_is_looked_at():
    assert nodes("amqp://a:1/v;amqp://b ; amqps://c") == ["amqp://a:1/v", "amqp://b", "amqps://c"]
    with pytest.raises(ConfigError, match='"redis://b" is not the URL of a broker; Redis is never the broker'):
        check_url("amqp://a;redis://b")


@pytest.mark.parametrize("url", ["amqp://guest:s3;cret@a", "amqp://guest:s3cret@a;b", "amqp://guest:s3cret@a;"])
def test_a_semicolon_that_parts_no_urls_is_refused_without_showing_the_password(url):
    with pytest.raises(ConfigError, match="a ; stands between two URLs; in a password write %3B") as caught:
        check_url(url)
    assert "s3" not in str(caught.value)


def test_redis_is_refused_as_a_broker_without_showing_its_password():
    with pytest.raises(ConfigError, match="Redis is never the broker") as caught:
        check_url("redis://:s3cret@localhost")
    assert "s3cret" not in str(caught.value)


def test_the_in_memory_transport_cannot_be_configured():
    with pytest.raises(ConfigError, match="allowed: amqp://, amqps://"):
        check_url("memory://x")


def test_the_in_memory_transport_takes_three_kinds_of_exchange_and_says_what_it_cannot():
    with opened("memory://topology", "test") as connection:
        (finding,) = declare(connection, t.topology([("note", ["app.#"], False)]))
        assert (finding.state, finding.what) == ("unsupported", "exchange clockmill.resources")
        assert "headers" in finding.says
        assert {found.state for found in check(connection, t.topology())} == {"ok", "unsupported"}


def test_handlers_jobs_and_pools_of_a_mill_have_their_queues(tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "mine.py").write_text(
        "from clockmill import job, on\n\n@on('app.like.*', order_by='user_id')\ndef like(ctx):\n    pass\n\n\n"
        "@job(on='app.order.*', debounce='10s', batch=50)\ndef bill(ctx):\n    pass\n"
    )
    written = {"scheduler": {"job_folders": ["jobs"]}, "pools": {"heavy": 2}}
    found = topology_of(Mill(config.merge(tmp_path, None, written, {})))
    assert queue(found, "clockmill.on.like").bindings[0].key == "app.like.*"
    assert queue(found, "clockmill.job.bill").bindings[0].key == "app.order.*"
    assert queue(found, "clockmill.pool.heavy").bindings[0] == t.Binding("clockmill.commands", "clockmill.pool.heavy")


def test_no_hands_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\[broker\] handlers = 0; allowed: 1 and up"):
        hands(Mill(config.merge(tmp_path, None, {"broker": {"handlers": 0}}, {})))


def test_a_label_that_is_no_word_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\[broker\] labels: 'a b': expected words like gpu"):
        labels(Mill(config.merge(tmp_path, None, {"broker": {"labels": ["a b"]}}, {})))


@pytest.mark.parametrize("pattern", ["", "app..x", "app.li*", "a b", ".app", "#x", "x" * 256])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ConfigError, match="pattern"):
        check_patterns([pattern], "handler x")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ack": "never"}, 'ack = "never"; allowed: late, early'),
        ({"batch": 5, "order_by": "user_id"}, "exclude each other"),
        ({"data": {"user_id": "number"}}, 'data.user_id = "number"; allowed: id, int'),
        ({"retries": -1}, "retries 0 or more"),
        ({"name": "No Name"}, "a name is"),
    ],
)
def test_a_handler_that_is_declared_wrongly_says_what_is_allowed(settings, says):
    with pytest.raises(ConfigError, match=says):
        on("app.x", **{"name": "x", **settings})(print)
