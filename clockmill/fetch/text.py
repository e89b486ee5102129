"""Text from strangers, made safe to show, to store and to send."""

import html
import unicodedata

#: Cleaning is linear, but nobody reads more of an item than this many characters of markup.
MAX_MARKUP = 100_000
_ROUNDS = 4


def plain(markup: str, limit: int) -> str:
    """The words of a piece of HTML or text: no tags at any level of escaping, no control characters, one line.

    Longer than `limit` characters it is cut, at a word where there is one, and ends in an ellipsis.
    """
    import nh3

    text = storable(markup[:MAX_MARKUP])
    for _ in range(_ROUNDS):
        before, text = text, html.unescape(nh3.clean(text, tags=set()))
        if text == before:
            break
    else:
        text = text.replace("<", "‹")
    return shortened(" ".join(storable(text).split()), limit)


def storable(text: str) -> str:
    """The text without what a database or UTF-8 refuses: lone surrogates and control characters, save white space."""
    return "".join(" " if char.isspace() else char for char in text if char.isspace() or not _refused(char))


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    return (head.rpartition(" ")[0] or head) + "…"


def _refused(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs")
