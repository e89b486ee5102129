"""What an XML document must pass before a feed parser sees it."""

import re
from xml.sax import SAXException
from xml.sax.handler import ContentHandler

from clockmill.errors import FeedError

MAX_DEPTH = 100
MAX_ITEMS = 1_000
#: In a document that is not well-formed, HTML that nobody closed looks like depth: a feed has some, an attack a lot.
MAX_UNCLOSED = 1_000

_ITEM = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?(?:item|entry)[\s>/]", re.IGNORECASE)
_TAG = re.compile(rb"<(/?)[A-Za-z_][^<>]*?(/?)>")
_DECLARATION = re.compile(rb"<!(?:DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)", re.IGNORECASE)
_CDATA = re.compile(rb"<!\[CDATA\[.*?(?:\]\]>|\Z)", re.DOTALL)
#: RSS 0.91 prescribes this declaration. With no subset of its own it declares nothing, and nobody fetches it.
_RSS_091 = re.compile(
    rb'<!DOCTYPE\s+rss\s+(?:SYSTEM|PUBLIC\s+"-//Netscape Communications//DTD RSS 0\.91//EN")'
    rb'\s+"http://my\.netscape\.com/publish/formats/rss-0\.91\.dtd"\s*>',
    re.IGNORECASE,
)


def without_rss_091_doctype(document: bytes) -> bytes:
    """The UTF-8 document, blanked where it holds the declaration that RSS 0.91 prescribes."""
    return _RSS_091.sub(b"", document, count=1)


def check(document: bytes) -> bool:
    """Whether the UTF-8 document is well-formed; FeedError where it is dangerous.

    Forbidden are document types and entities, more than MAX_DEPTH levels and more than MAX_ITEMS items. A document
    that is not well-formed is held to the same by its text, since a lenient parser will read on.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.sax import parseString

    try:
        parseString(document, _Counter(), forbid_dtd=True)
    except DefusedXmlException:
        raise _declares() from None
    except SAXException:
        _check_text(document)
        return False
    return True


class _Counter(ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self._depth = self._items = 0

    def startElement(self, name: str, attrs: object) -> None:
        self._depth += 1
        self._items += name.rpartition(":")[2].lower() in ("item", "entry")
        if self._depth > MAX_DEPTH:
            raise _too_deep()
        if self._items > MAX_ITEMS:
            raise _too_many()

    def endElement(self, name: str) -> None:
        self._depth -= 1


def _check_text(document: bytes) -> None:
    text = _CDATA.sub(b"", document)
    if _DECLARATION.search(text):
        raise _declares()
    if sum(1 for _ in _ITEM.finditer(text)) > MAX_ITEMS:
        raise _too_many()
    open_tags = 0
    for tag in _TAG.finditer(text):
        closes, empty = tag.groups()
        open_tags += 0 if empty else -1 if closes else 1
        if open_tags > MAX_UNCLOSED:
            raise _too_deep()


def _declares() -> FeedError:
    return FeedError("it declares a document type or entities, which are refused; ask its owner for a plain feed")


def _too_deep() -> FeedError:
    return FeedError(f"its elements are nested more than {MAX_DEPTH} deep; it is not read")


def _too_many() -> FeedError:
    return FeedError(f"it has more than {MAX_ITEMS} items; name a feed of the newest ones")
