"""One expression taken apart: its zone prefix, its sort, its fields."""

import re
from dataclasses import dataclass
from hashlib import blake2b

from clockmill.errors import ScheduleError
from clockmill.schedule.days import month_masks
from clockmill.schedule.fields import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    WEEKDAY,
    YEAR,
    Field,
    Kind,
    read_field,
    shorten,
)
from clockmill.schedule.nicknames import NICKNAMES
from clockmill.schedule.pattern import Pattern

_LONGEST = 4_096  # characters; every minute, day and year written out stays below
_COLUMNS = {
    5: (MINUTE, HOUR, DAY, MONTH, WEEKDAY),
    6: (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY),
    7: (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR),
}
_EVERY_YEAR = sum(1 << year for year in range(YEAR.low, YEAR.high + 1))
_SPACE = re.compile(r"[ \t]+")
_WORD = re.compile(r"[^ \t]+")
_VISIBLE = re.compile(r"[\t -~]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """`sort` is "cron" with `fields`, or "@every", "@at", "@reboot" with `argument`; `zone` is "" without a prefix."""

    zone: str
    sort: str
    argument: str
    fields: tuple[Field, ...]
    together: bool  # a leading + on the weekday field

    @property
    def days(self) -> Field:
        return self.fields[2 if len(self.fields) == 5 else 3]

    @property
    def weekdays(self) -> Field:
        return self.fields[4 if len(self.fields) == 5 else 5]

    @property
    def fixed_time(self) -> bool:
        """Debian's test for a job that DST may neither skip nor double; seconds are not Debian's."""
        return len(self.fields) == 5 and not (self.fields[0].starred or self.fields[1].starred)

    @property
    def day_and(self) -> bool:
        """Vixie's rule: both day fields must agree as soon as one starts with a star."""
        return self.together or self.days.starred or self.weekdays.starred


def read_line(text: str, name: str) -> Line:
    """Raises ScheduleError. `name` is the job's, for `H` and `~`."""
    words = _words(text)
    zone = ""
    if words and words[0].startswith(("TZ=", "CRON_TZ=")):
        zone = words.pop(0).partition("=")[2]
        if not zone:
            raise ScheduleError("time zone is empty; allowed: an IANA name such as TZ=Europe/Oslo")
    if words and words[0].startswith("@"):
        return _special_line(zone, words)
    return _field_line(zone, words, name)


def pattern_of(line: Line) -> Pattern:
    """The wall seconds of a line of sort "cron"."""
    bits = {field.kind: field.bits for field in line.fields}
    days = month_masks(line.days, line.weekdays, line.day_and)
    years = bits.get(YEAR, _EVERY_YEAR)
    return Pattern(
        bits.get(SECOND, 1), bits[MINUTE], bits[HOUR], bits[MONTH], days, 0 if years == _EVERY_YEAR else years
    )


def _words(text: str) -> list[str]:
    if len(text) > _LONGEST:
        place, length = _longest_word(text)
        raise ScheduleError(f"{place} has {length} characters; allowed: at most {_LONGEST} in the whole expression")
    seen = _VISIBLE.match(text)
    if seen and seen.end() < len(text):
        place, strange = _place(text, seen.end()), shorten(text[seen.end()])
        raise ScheduleError(
            f"{place} holds {strange}, a line break, control or non-ASCII character; "
            "allowed: printable ASCII in one line"
        )
    return [word for word in _SPACE.split(text) if word]


def _longest_word(text: str) -> tuple[str, int]:
    spans = [found.span() for found in _WORD.finditer(text)]
    begin, end = max(spans, key=lambda span: span[1] - span[0], default=(0, 0))
    return (_place(text, begin), end - begin) if 2 * (end - begin) > len(text) else ("it", len(text))


def _place(text: str, index: int) -> str:
    """The field that the character belongs to; where the count of fields is wrong too, the number of the word."""
    words = [found for found in _WORD.finditer(text) if not found[0].startswith(("TZ=", "CRON_TZ="))]
    number = sum(word.start() <= index for word in words)
    if not words or words[0].start() > index:
        return "time zone"
    columns = () if words[0][0].startswith("@") else _COLUMNS.get(len(words), ())
    return columns[number - 1].name if columns else f"word {number}"


def _special_line(zone: str, words: list[str]) -> Line:
    nickname, *arguments = words
    if nickname in ("@every", "@at"):
        if len(arguments) != 1:
            example = "@every 90s" if nickname == "@every" else "@at 2026-12-24T18:00"
            raise ScheduleError(f"{nickname} has {len(arguments)} words after it; allowed: one, as in {example}")
        return Line(zone, nickname, arguments[0], (), False)
    if arguments and (nickname in NICKNAMES or nickname == "@reboot"):
        raise ScheduleError(f"{nickname} is followed by {shorten(' '.join(arguments))}; allowed: nothing after it")
    if nickname == "@reboot":
        return Line(zone, nickname, "", (), False)
    if nickname not in NICKNAMES:
        known = ", ".join([*NICKNAMES, "@every LENGTH", "@at TIME", "@reboot"])
        raise ScheduleError(f"nickname is {shorten(nickname)}; allowed, in lower case: {known}")
    return _field_line(zone, NICKNAMES[nickname].split(), "")


def _field_line(zone: str, words: list[str], name: str) -> Line:
    columns = _COLUMNS.get(len(words))
    if columns is None:
        allowed = "5, 6 (seconds first), 7 (year last) or a nickname such as @daily"
        raise ScheduleError(f"it has {len(words)} fields; allowed: {allowed}")
    together = False
    fields = []
    for kind, word in zip(columns, words, strict=True):
        if kind is WEEKDAY and word.startswith("+"):
            together, word = True, word[1:]
        fields.append(read_field(kind, word, _seed(name, kind, word)))
    return Line(zone, "cron", "", tuple(fields), together)


def _seed(name: str, kind: Kind, word: str) -> int:
    if not ("H" in word or "h" in word or "~" in word):
        return 0
    return int.from_bytes(blake2b(f"{kind.name}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest())
