"""Where in its file a setting stands, for messages: tomllib tells values, not lines."""

import re
from collections.abc import Iterator
from pathlib import Path

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")


def line_of(file: Path, table: str, key: str) -> int | None:
    """The line, counted from 1, of this key in `[table]`, else the one where the table begins, else None."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    begin = None
    for number, name, line in _lines(text):
        if name != table:
            continue
        begin = begin or number
        if re.match(rf'\s*"?{re.escape(key)}"?\s*=', line):
            return number
    return begin


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """(number, the table it stands in, line)."""
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        if found := _HEADER.fullmatch(line):
            name = re.sub(r"[\s\"']", "", found[1])
        yield number, name, line
