"""The topology in a real RabbitMQ: declared, compared, and routing as it says."""

import pytest

from clockmill.errors import BrokerUnavailable
from clockmill.exchange import topology as t
from clockmill.exchange.broker import connection, opened, translated
from clockmill.exchange.declaring import check, declare

LABELS = ("gpu", "licence")


@pytest.fixture
def made(broker_url):
    with opened(broker_url, "test") as one:
        yield one


def put(made, exchange, key="", headers=None):
    channel = made.channel()
    channel.basic_publish_confirm(
        channel.prepare_message(b"{}", headers=headers or {}), exchange=exchange, routing_key=key, mandatory=True
    )
    channel.close()


def depth(made, queue):
    return made.default_channel.queue_declare(queue, passive=True).message_count


def test_a_fresh_broker_lacks_everything_and_a_declared_one_nothing(made):
    wanted = t.topology([("note", ["app.#"], True)], [("bill", ["app.order.*"])], ["heavy"])
    assert {finding.state for finding in check(made, wanted)} == {"missing"}
    assert declare(made, wanted) == []
    assert declare(made, wanted) == []
    assert {finding.state for finding in check(made, wanted)} == {"ok"}


def test_a_queue_with_other_arguments_is_reported_and_the_others_are_declared(made):
    made.default_channel.queue_declare(t.REQUESTS, durable=True, auto_delete=False)
    (finding,) = declare(made, t.topology())
    assert (finding.state, finding.what) == ("differs", "queue clockmill.requests")
    assert "inequivalent arg" in finding.says
    assert check(made, t.topology()) != []
    assert depth(made, t.DEAD) == 0


def test_a_run_goes_to_a_worker_that_offers_what_it_needs_and_else_is_kept(made):
    assert declare(made, t.topology(offers=[(), ("gpu",)], labels=LABELS)) == []
    put(made, t.RESOURCES, headers=t.needs_headers(["gpu"], LABELS))
    put(made, t.RESOURCES, headers=t.needs_headers(["licence"], LABELS))
    assert depth(made, "clockmill.resources.gpu") == 1
    assert depth(made, "clockmill.resources.none") == 0
    assert depth(made, t.UNROUTABLE) == 1


def test_a_message_that_waits_for_a_retry_comes_back_to_its_queue(made):
    declare(made, t.topology())
    put(made, t.retry_name(1), key=t.REQUESTS)
    assert depth(made, t.REQUESTS) == 0
    channel = made.default_channel
    message = None
    for _ in range(100):
        if message := channel.basic_get(t.REQUESTS, no_ack=True):
            break
        try:
            made.drain_events(timeout=0.05)
        except TimeoutError:
            pass
    assert message is not None


def test_a_broker_that_is_away_is_named_without_its_password():
    with pytest.raises(BrokerUnavailable, match=r"\[broker\] url: amqp://guest:\*\*\*@127.0.0.1:9: ") as caught:
        connection("amqp://guest:s3cret@127.0.0.1:9", "test")
    assert "s3cret" not in str(caught.value)


def test_any_living_node_of_a_cluster_will_do(broker_url):
    for _ in range(10):
        with opened(f"amqp://guest:s3cret@127.0.0.1:9;{broker_url};amqp://127.0.0.1:7", "test") as made:
            assert made.connected


def test_a_cluster_that_is_away_is_named_node_by_node():
    with pytest.raises(BrokerUnavailable) as caught:
        connection("amqp://guest:s3cret@127.0.0.1:9;amqp://guest:s3cret@127.0.0.1:7", "test")
    one, two = (f"amqp://guest:***@127.0.0.1:{port}: [Errno 111] Connection refused" for port in (9, 7))
    assert str(caught.value) == f"[broker] url: {one}; {two}"


def test_a_channel_that_the_broker_closes_is_an_outage(made, broker_url):
    with pytest.raises(BrokerUnavailable, match="no queue 'nowhere'"), translated(broker_url):
        made.default_channel.queue_declare("nowhere", passive=True)
