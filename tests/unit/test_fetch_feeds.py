from datetime import UTC, datetime

import pytest

from clockmill.errors import FeedError
from clockmill.fetch.feeds import parse

RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>T</title><link>http://e.org/</link>
<item><guid>g1</guid><title>One &amp;amp; all</title><link>http://e.org/1</link>
<pubDate>Sun, 08 Mar 2026 07:00:00 GMT</pubDate><description>&lt;p&gt;Hello&lt;/p&gt;</description></item>
</channel></rss>"""

ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>T</title><entry><id>urn:1</id><title>One</title>
<link href="/one"/><updated>2026-03-08T08:00:00+01:00</updated><summary type="html">&lt;i&gt;Hi&lt;/i&gt;</summary>
</entry></feed>"""

RDF = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="http://e.org/"><title>T</title></channel>
<item rdf:about="http://e.org/1"><title>One</title><link>http://e.org/1</link><dc:date>2026-03-08T07:00:00Z</dc:date>
</item></rdf:RDF>"""

RSS_091 = b"""<?xml version="1.0"?><!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN"
 "http://my.netscape.com/publish/formats/rss-0.91.dtd"><rss version="0.91"><channel>
<item><title>One</title><link>http://e.org/1</link></item></channel></rss>"""

JSON = b"""{"version": "https://jsonfeed.org/version/1.1", "title": "T", "items": [
{"id": 7, "url": "http://e.org/1", "content_text": "Hello", "date_published": "2026-03-08T08:00:00+01:00"}]}"""

SEVEN = datetime(2026, 3, 8, 7, tzinfo=UTC)


def rss(item: str) -> bytes:
    return f'<rss version="2.0"><channel><title>T</title><item>{item}</item></channel></rss>'.encode()


def test_an_rss_item_is_read_whole():
    (item,) = parse(RSS)
    assert (item.guid, item.title, item.link) == ("g1", "One & all", "http://e.org/1")
    assert (item.published_at, item.summary) == (SEVEN, "Hello")


def test_an_atom_link_is_resolved_against_the_feeds_address():
    (item,) = parse(ATOM, "application/atom+xml", "http://e.org/feed")
    assert (item.guid, item.link, item.published_at, item.summary) == ("urn:1", "http://e.org/one", SEVEN, "Hi")


def test_an_rdf_item_is_known_by_its_link():
    (item,) = parse(RDF)
    assert (item.guid, item.published_at) == ("http://e.org/1", SEVEN)


def test_the_document_type_that_rss_091_prescribes_is_no_danger():
    assert [item.title for item in parse(RSS_091)] == ["One"]


def test_a_json_feed_item_is_read_whole():
    (item,) = parse(JSON)
    assert (item.guid, item.title, item.published_at, item.summary) == ("7", "http://e.org/1", SEVEN, "Hello")


def test_without_guid_and_link_the_title_names_an_item():
    first, again = parse(rss("<title>One</title>")), parse(rss("<title>One</title>"))
    assert first[0].guid == again[0].guid != parse(rss("<title>Two</title>"))[0].guid


def test_a_guid_does_not_change_with_the_address_of_its_feed():
    number = rss("<guid>17</guid><title>One</title>")
    (here,), (there,) = parse(number, "", "http://e.org/feed"), parse(number, "", "http://e.net/feed")
    assert (here.guid, here.link) == (there.guid, there.link) == ("17", "")


def test_a_guid_too_long_for_a_key_is_hashed():
    (item,) = parse(rss(f"<guid>{'x' * 300}</guid><title>One</title>"))
    assert item.guid.startswith("sha256:")


def test_an_item_given_twice_counts_once():
    item = "<item><guid>g</guid><title>One</title></item>"
    assert len(parse(f'<rss version="2.0"><channel>{item}{item}</channel></rss>'.encode())) == 1


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "ftp://e.org/1", "http://[bad/"])
def test_a_link_that_is_not_for_the_web_is_dropped(link):
    assert parse(rss(f"<title>One</title><link>{link}</link>"))[0].link == ""


def test_a_script_in_a_title_is_gone():
    (item,) = parse(
        b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><title type="text">'
        b"&lt;script&gt;alert(1)&lt;/script&gt;One</title></entry></feed>"
    )
    assert item.title == "One"


def test_an_ill_formed_feed_is_read_as_far_as_it_goes():
    assert [item.title for item in parse(b'<rss version="2.0"><channel><item><title>One & two</title>')] == [
        "One & two"
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "utf-8-sig"])
def test_a_feed_is_read_in_its_encoding(encoding):
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    text = f'<?xml version="1.0" encoding="{declared}"?><rss version="2.0"><channel><item><title>Blåbær</title></item>'
    (item,) = parse((text + "</channel></rss>").encode(encoding), "application/xml")
    assert item.title == "Blåbær"


ENTITIES = '<!DOCTYPE rss [<!ENTITY a "b">]><rss version="2.0"><channel><item><title>&a;</title></item></channel></rss>'


@pytest.mark.parametrize(
    "document",
    [
        ENTITIES.encode(),
        ENTITIES.replace("</rss>", "").encode(),
        ('<?xml version="1.0" encoding="utf-16"?>' + ENTITIES).encode("utf-16"),
        b'<!DOCTYPE rss SYSTEM "http://169.254.169.254/x.dtd"><rss version="2.0"><channel/></rss>',
    ],
)
def test_a_document_that_declares_entities_is_refused(document):
    with pytest.raises(FeedError, match="document type or entities"):
        parse(document)


@pytest.mark.parametrize("end", [b"", b"</a>" * 101 + b"</channel></rss>"])
def test_a_document_nested_too_deeply_is_refused(end):
    with pytest.raises(FeedError, match="nested more than 100 deep"):
        parse(b'<rss version="2.0"><channel>' + b"<a>" * 101 + end)


def test_ill_formed_nesting_without_end_is_refused():
    with pytest.raises(FeedError, match="nested"):
        parse(b'<rss version="2.0"><channel x=1>' + b"<a>" * 200_000)


def test_more_than_a_thousand_items_are_refused():
    with pytest.raises(FeedError, match="more than 1000 items"):
        parse(b'<rss version="2.0"><channel>' + b"<item/>" * 1_001 + b"</channel></rss>")


def test_a_web_page_is_named_as_one():
    with pytest.raises(FeedError, match="it is a web page"):
        parse(b"\n<!DOCTYPE html><html><body>Not found</body></html>")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "nothing"),
        (b"Service unavailable", "it begins with 'Service unavailable'"),
        (b"<note><to>Tove</to></note>", "it is not a feed"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"version": NaN}', "NaN is not a number"),
        (b'{"version": "1"}', "no JSON Feed"),
        (b'{"version": 1e400}', "too large"),
    ],
)
def test_a_document_that_is_no_feed_says_what_it_is(document, reason):
    with pytest.raises(FeedError, match=reason):
        parse(document)
