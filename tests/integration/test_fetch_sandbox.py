import pytest

from clockmill.errors import FeedError
from clockmill.fetch.sandbox import Sandbox

RSS = (
    b'<rss version="2.0"><channel><item><guid>g</guid><title>One</title>'
    b"<pubDate>Sun, 08 Mar 2026 07:00:00 GMT</pubDate></item></channel></rss>"
)
#: Quadratic in the lenient parser: about a minute.
HEAVY = b'<rss version="2.0"><channel><item><title>' + b'<a b="' * 800_000


def test_the_child_gives_what_the_parser_gives():
    from clockmill.fetch.feeds import parse

    with Sandbox() as sandbox:
        assert sandbox.parse(RSS, "application/xml", "http://e.org/") == parse(RSS)


def test_a_feed_error_crosses_the_pipe():
    with Sandbox() as sandbox, pytest.raises(FeedError, match="it is a web page"):
        sandbox.parse(b"<html></html>")


def test_a_document_that_takes_too_long_costs_itself_alone():
    with Sandbox() as sandbox:
        with pytest.raises(FeedError, match="took more than 2 s"):
            sandbox.parse(HEAVY)
        assert len(sandbox.parse(RSS)) == 1


def test_a_child_that_is_gone_is_replaced():
    with Sandbox() as sandbox:
        sandbox.parse(RSS)
        sandbox._child.kill()
        sandbox._child.wait()
        with pytest.raises(FeedError):
            sandbox.parse(RSS)
        assert len(sandbox.parse(RSS)) == 1
