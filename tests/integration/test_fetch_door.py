import socket
import threading
import time

import pytest

from clockmill.errors import FetchError
from clockmill.fetch import preview
from clockmill.fetch.cache import Cache
from clockmill.fetch.http import Door
from clockmill.fetch.settings import FetchSettings
from clockmill.fetch.transport import CheckedBackend, CheckedTransport, Deadline

httpx2 = pytest.importorskip("httpx2")

RSS = b'<rss version="2.0"><channel><item><guid>g</guid><title>One</title></item></channel></rss>'


@pytest.fixture
def door(tmp_path):
    return Door(FetchSettings(allow_private=("127.0.0.1",), deadline=0.5), Cache(tmp_path))


@pytest.fixture
def slow_server():
    """A server that answers the head, then one byte at a time; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip():
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not over.wait(0.05):
                try:
                    connection.sendall(b"1\r\nx\r\n")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    yield listener.getsockname()[1]
    over.set()
    thread.join()
    listener.close()


def test_a_document_comes_through(httpserver, door):
    httpserver.expect_request("/feed").respond_with_data(RSS, content_type="application/rss+xml")
    assert door.get(httpserver.url_for("/feed").replace("localhost", "127.0.0.1")).body == RSS


def test_a_server_that_drips_is_left_at_the_deadline(slow_server, door):
    began = time.monotonic()
    with pytest.raises(FetchError, match=r"no whole answer within 0\.5 s"):
        door.get(f"http://127.0.0.1:{slow_server}/")
    assert time.monotonic() - began < 1.5


def test_a_handshake_that_stalls_is_left_at_the_deadline(door):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(FetchError, match=r"no whole answer within 0\.5 s"):
            door.get(f"https://127.0.0.1:{silent.getsockname()[1]}/")
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "localhost.", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_no_spelling_of_this_machine_is_connected_to(tmp_path, host):
    door = Door(FetchSettings(), Cache(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with pytest.raises(FetchError, match=r"is not public|cannot be resolved|HTTP"):
            door.get(f"http://{host}:{listener.getsockname()[1]}/")
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_an_allowed_host_opens_no_other(httpserver, tmp_path):
    httpserver.expect_request("/").respond_with_data("", status=302, headers={"Location": "http://127.0.0.2:1/"})
    door = Door(FetchSettings(allow_private=("localhost",)), Cache(tmp_path))
    with pytest.raises(FetchError, match=r"127\.0\.0\.2: its address 127\.0\.0\.2 is not public"):
        door.get(httpserver.url_for("/"))


def test_a_redirect_from_outside_may_not_use_the_allow_list(httpserver, tmp_path):
    outside = httpx2.MockTransport(lambda request: httpx2.Response(302, headers={"Location": httpserver.url_for("/")}))

    def transport_for(deadline, private_hosts):
        if outside_hops:
            return outside_hops.pop()
        return CheckedTransport(CheckedBackend(deadline, private_hosts), httpx2.create_ssl_context())

    outside_hops = [outside]
    door = Door(FetchSettings(allow_private=("localhost",)), Cache(tmp_path), transport_for=transport_for)
    with pytest.raises(FetchError, match=r"localhost: its address .* is not public"):
        door.get("http://example.org/")


def test_the_checked_address_is_the_one_connected_to(httpserver):
    names = []

    def lookup(host, port, seconds):
        names.append(host)
        return ["127.0.0.1"]

    httpserver.expect_request("/", headers={"Host": f"app.internal:{httpserver.port}"}).respond_with_data("yes")
    backend = CheckedBackend(Deadline(5), frozenset({"app.internal"}), lookup)
    with httpx2.Client(transport=CheckedTransport(backend, httpx2.create_ssl_context())) as client:
        assert client.get(f"http://app.internal:{httpserver.port}/").text == "yes"
    assert names == ["app.internal"]


def test_proxies_of_the_environment_are_ignored(httpserver, door, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    httpserver.expect_request("/").respond_with_data("x")
    assert door.get(f"http://127.0.0.1:{httpserver.port}/").body == b"x"


def test_a_head_of_a_megabyte_is_refused(httpserver, door):
    httpserver.expect_request("/").respond_with_data("x", headers={"X-Long": "y" * 1_000_000})
    with pytest.raises(FetchError):
        door.get(f"http://127.0.0.1:{httpserver.port}/")


def test_a_preview_shows_the_items_of_a_feed(httpserver, tmp_path):
    httpserver.expect_request("/feed").respond_with_data(RSS, content_type="application/rss+xml")
    seen = preview(httpserver.url_for("/feed"), {"allow_private": ["localhost"]}, tmp_path)
    assert (seen["status"], seen["error"], [item["title"] for item in seen["items"]]) == (200, None, ["One"])


def test_a_preview_of_something_else_says_why_it_is_no_feed(httpserver, tmp_path):
    httpserver.expect_request("/").respond_with_data("<html></html>")
    seen = preview(httpserver.url_for("/"), {"allow_private": ["localhost"]}, tmp_path)
    assert "web page" in seen["error"]
