"""Patterns of event types, as a topic exchange reads them."""

from functools import lru_cache


@lru_cache(maxsize=1024)
def matches(pattern: str, type: str) -> bool:
    """Whether an event of this type comes to a queue bound with the pattern: `*` is one word, `#` any number."""
    return _match(tuple(pattern.split(".")), tuple(type.split(".")))


def _match(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    #: Which beginnings of the words each part of the pattern so far can account for.
    reached = {0}
    for part in pattern:
        if part == "#":
            reached = set(range(min(reached), len(words) + 1)) if reached else set()
        else:
            reached = {n + 1 for n in reached if n < len(words) and part in ("*", words[n])}
    return len(words) in reached
