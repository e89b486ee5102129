import gzip

import pytest

from clockmill.errors import FetchError
from clockmill.fetch.cache import Cache, Entry
from clockmill.fetch.http import MAX_DECODED, MAX_RAW, Door, shown
from clockmill.fetch.settings import FetchSettings

httpx2 = pytest.importorskip("httpx2")

URL = "http://example.org/feed"
NOON = 1_772_971_200.0


class Server:
    """Answers each request with the next of the given responses, and remembers what it was asked."""

    def __init__(self, *responses):
        self.asked, self._responses = [], list(responses)

    def transport(self, deadline, private_hosts):
        return httpx2.MockTransport(self._answer)

    def _answer(self, request):
        self.asked.append(request)
        return self._responses.pop(0)


@pytest.fixture
def door_to(tmp_path):
    def make(server, now=NOON, **settings):
        return Door(FetchSettings(**settings), Cache(tmp_path), lambda: now, server.transport)

    return make


def answer(status=200, body=b"", **headers):
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return httpx2.Response(status, headers=named, stream=httpx2.ByteStream(body))


def redirect(to):
    return answer(302, location=to)


def test_the_request_says_who_asks(door_to):
    server = Server(answer(body=b"x"))
    door_to(server, contact="me@example.org").get(URL)
    assert server.asked[0].headers["user-agent"].endswith(" (me@example.org)")


def test_validators_go_back_byte_for_byte_and_304_gives_the_kept_body(door_to):
    server = Server(answer(body=b"x", etag=b'W/"\xe9-1"', last_modified="Sun, 8 Mar 2026 07:00:00 +0000"), answer(304))
    door = door_to(server)
    door.keep(door.get(URL))
    document = door.get(URL)
    sent = dict(server.asked[1].headers.raw)
    assert (sent[b"If-None-Match"], sent[b"If-Modified-Since"]) == (b'W/"\xe9-1"', b"Sun, 8 Mar 2026 07:00:00 +0000")
    assert (document.body, document.unchanged) == (b"x", True)


def test_a_document_that_was_not_kept_is_asked_for_without_condition(door_to):
    server = Server(answer(body=b"x", etag='"1"'), answer(body=b"x"))
    door = door_to(server)
    door.get(URL)
    door.get(URL)
    assert "if-none-match" not in server.asked[1].headers


def test_before_its_expiry_a_forecast_is_not_asked_for_again(door_to):
    door = door_to(Server(answer(body=b"x", expires="Sun, 08 Mar 2026 12:30:00 GMT")))
    door.keep(door.get(URL))
    assert door.get(URL, respect_expires=True).unchanged


def test_after_its_expiry_it_is(door_to):
    expires = {"expires": "Sun, 08 Mar 2026 12:30:00 GMT"}
    door = door_to(Server(answer(body=b"x", **expires)))
    door.keep(door.get(URL))
    assert door_to(Server(answer(body=b"y")), now=NOON + 1800).get(URL, respect_expires=True).body == b"y"


def test_an_expiry_years_away_counts_for_a_day(door_to):
    door = door_to(Server(answer(body=b"x", expires="Sun, 08 Mar 2099 12:30:00 GMT")))
    assert door.get(URL).entry.expires == NOON + 86_400


def test_an_overloaded_server_is_left_alone_as_long_as_it_asks(door_to):
    with pytest.raises(FetchError, match=r"HTTP 429.*120 s"):
        door_to(Server(answer(429, retry_after="120"))).get(URL)
    with pytest.raises(FetchError, match="not to be called before 2026-03-08T12:02:00Z"):
        door_to(Server(), now=NOON + 119).get(URL)
    assert door_to(Server(answer(body=b"x")), now=NOON + 120).get(URL).body == b"x"


def test_three_redirects_are_followed(door_to):
    server = Server(redirect("/a"), redirect("/b"), redirect("https://example.net/c"), answer(body=b"x"))
    assert door_to(server).get(URL).final_url == "https://example.net/c"


def test_a_fourth_redirect_is_not(door_to):
    with pytest.raises(FetchError, match="more than 3 redirects"):
        door_to(Server(*(redirect(f"/{n}") for n in range(4)))).get(URL)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/", "gopher://example.org/", "unix:/x"])
def test_only_the_web_is_fetched_or_redirected_to(door_to, target):
    for server, url in ((Server(), target), (Server(redirect(target)), URL)):
        with pytest.raises(FetchError, match="is not fetched; allowed are http"):
            door_to(server).get(url)


def test_a_login_in_the_address_is_refused_and_not_shown(door_to):
    with pytest.raises(FetchError, match="login") as refused:
        door_to(Server()).get("http://user:hunter2@example.org/")
    assert "hunter2" not in str(refused.value)


def test_a_secret_parameter_is_not_shown():
    assert shown("https://u:p@e.org/f?apikey=hunter2&q=a") == "https://e.org/f?apikey=***&q=a"


def test_an_ordinary_address_is_shown_as_it_is():
    assert shown("https://e.org/f?a=1%202&b") == "https://e.org/f?a=1%202&b"


def test_a_document_beyond_the_raw_limit_is_refused(door_to):
    with pytest.raises(FetchError, match="larger than 5 MB"):
        door_to(Server(answer(body=b"x" * (MAX_RAW + 1)))).get(URL)


def test_packed_and_unpacked_documents_are_the_same(door_to):
    assert door_to(Server(answer(body=gzip.compress(b"x" * 99), content_encoding="gzip"))).get(URL).body == b"x" * 99


def test_a_small_document_that_unpacks_beyond_the_limit_is_refused(door_to):
    bomb = gzip.compress(b"\0" * (MAX_DECODED + 1))
    with pytest.raises(FetchError, match="unpacks to more than 20 MB"):
        door_to(Server(answer(body=bomb, content_encoding="gzip"))).get(URL)


@pytest.mark.parametrize("packed", [b"not gzip", gzip.compress(b"x" * 999)[:-4]])
def test_broken_packing_is_refused(door_to, packed):
    with pytest.raises(FetchError, match="gzip packing"):
        door_to(Server(answer(body=packed, content_encoding="gzip"))).get(URL)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd"])
def test_packing_that_was_not_asked_for_is_refused(door_to, encoding):
    with pytest.raises(FetchError, match="was not asked for"):
        door_to(Server(answer(body=b"x", content_encoding=encoding))).get(URL)


@pytest.mark.parametrize(("status", "remedy"), [(404, "moved"), (410, "remove its address"), (500, "HTTP 500")])
def test_a_refusal_names_address_status_and_remedy(door_to, status, remedy):
    with pytest.raises(FetchError, match=rf"^http://example.org/feed: .*HTTP {status}") as refused:
        door_to(Server(answer(status))).get(URL)
    assert remedy in str(refused.value)


def test_a_broken_cache_file_counts_as_absent(tmp_path):
    cache = Cache(tmp_path)
    cache.put(Entry(URL, etag='"1"', received=NOON))
    (file,) = tmp_path.glob("*.json")
    file.write_text('{"url": 7, "body": ""}')
    assert cache.get(URL) == Entry(URL)


def test_a_cache_entry_comes_back_as_it_went(tmp_path):
    entry = Entry(URL, URL, 200, "text/xml", '"é"', "", 1.5, NOON, 0.0, b"\x00\xff")
    Cache(tmp_path).put(entry)
    assert Cache(tmp_path).get(URL) == entry
