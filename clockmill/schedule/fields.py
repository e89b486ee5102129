"""The grammar of one field: text in, a set of numbers out.

Why not cronsim's parser: it has no year, `H`, `~`, `?`, `nW`, `L-n` or `+`, and its answer to wrong input is the
field's name alone.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from clockmill.errors import ScheduleError

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

#: Every month has these days, so a hashed day of the month never skips one (Jenkins' rule).
LAST_HASHED_DAY = 28


def _names(words: tuple[str, ...], first: int) -> dict[str, int]:
    short = {word[:3].upper(): number for number, word in enumerate(words, first)}
    return short | {word.upper(): number for number, word in enumerate(words, first)}


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What one column of a crontab line may hold."""

    name: str
    low: int
    high: int
    names: dict[str, int]
    hash_high: int

    @property
    def allowed(self) -> str:
        words = {"month": " or JAN-DEC", "day of week": " (0 and 7 are Sunday) or SUN-SAT"}.get(self.name, "")
        return f"{self.low}-{self.high}{words}"


SECOND = Kind("second", 0, 59, {}, 59)
MINUTE = Kind("minute", 0, 59, {}, 59)
HOUR = Kind("hour", 0, 23, {}, 23)
DAY = Kind("day of month", 1, 31, {}, LAST_HASHED_DAY)
MONTH = Kind("month", 1, 12, _names(MONTHS, 1), 12)
WEEKDAY = Kind("day of week", 0, 7, _names(WEEKDAYS, 0), 6)
YEAR = Kind("year", 1970, 2199, {}, 2199)


@dataclass(frozen=True, slots=True)
class Special:
    """A day that depends on the month: `L` (n days before its end), `LW`, `W` (nearest to n), `#` (nth, 0 = last)."""

    sort: str
    number: int = 0
    weekday: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """One field as read. `said` is the same in Vixie's words, numbers only; empty where those have none."""

    kind: Kind
    bits: int
    starred: bool
    specials: tuple[Special, ...]
    said: str

    def values(self) -> list[int]:
        """The plain numbers, ascending; Sunday is 0."""
        return [value for value in range(self.kind.high + 1) if self.bits >> value & 1]


_ITEM = re.compile(
    r"""(?: (?P<star>\*)
          | (?P<hash>H) (?: \( (?P<hash_from>\w+) - (?P<hash_to>\w+) \) )?
          | (?P<any_from>\w*) ~ (?P<any_to>\w*)
          | (?P<first>\w+) (?: - (?P<last>\w+) )?
        ) (?: / (?P<step>\w+) )?""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_DAY_SPECIAL = re.compile(r"(?P<lw>LW)|L(?:-(?P<before>\d{1,2}))?|(?P<near>\d{1,2})W", re.ASCII | re.IGNORECASE)
_WEEKDAY_SPECIAL = re.compile(r"(?P<day>\w+)#(?P<nth>[1-5L])|(?P<last>\d|[A-Z]{3,9}?)L", re.ASCII | re.IGNORECASE)


def read_field(kind: Kind, text: str, seed: int) -> Field:
    """`seed` is the job's hash for this field, used by `H` and `~` alone."""
    if "H" in text or "~" in text or "h" in text:
        return _read(kind, text, seed)
    return _read_unhashed(kind, text)


@lru_cache(maxsize=4096)
def _read_unhashed(kind: Kind, text: str) -> Field:
    return _read(kind, text, 0)


def _read(kind: Kind, text: str, seed: int) -> Field:
    if text == "?" and kind in (DAY, WEEKDAY):
        text = "*"
    bits, specials, said = 0, [], []
    for item in text.split(","):
        special = _special(kind, item)
        if special:
            specials.append(special)
            continue
        numbers, words = _plain(kind, item, seed)
        bits |= _mask(kind, numbers)
        said.append(words)
    return Field(kind, bits, text.startswith("*"), tuple(specials), "" if specials else ",".join(said))


def _mask(kind: Kind, numbers: range) -> int:
    bits = sum(1 << number for number in numbers)
    if kind is WEEKDAY and bits >> 7:
        bits = bits & 0x7F | 1
    return bits


def _special(kind: Kind, item: str) -> Special | None:
    if kind is DAY and (found := _DAY_SPECIAL.fullmatch(item)):
        return _day_special(item, found)
    if kind is WEEKDAY and (found := _WEEKDAY_SPECIAL.fullmatch(item)):
        nth = (found["nth"] or "L").upper()
        weekday = _number(kind, found["day"] or found["last"], item) % 7
        return Special("#", 0 if nth == "L" else int(nth), weekday)
    return None


def _day_special(item: str, found: re.Match[str]) -> Special:
    if found["lw"]:
        return Special("LW")
    if found["near"]:
        return Special("W", _number(DAY, found["near"], item))
    before = int(found["before"] or 0)
    if before > 30:
        _refuse(DAY, item, "L-0 to L-30")
    return Special("L", before)


def _plain(kind: Kind, item: str, seed: int) -> tuple[range, str]:
    found = _ITEM.fullmatch(item)
    if not found:
        _refuse(kind, item, _forms(kind))
    step = _step(kind, found["step"], item)
    if found["hash"] or found["any_from"] is not None:
        return _hashed(kind, found, step, seed)
    if found["star"]:
        return range(kind.low, kind.high + 1, step or 1), f"*/{step}" if step else "*"
    first = _number(kind, found["first"], item)
    if found["last"] is None and step is None:
        return range(first, first + 1), str(first)
    last = kind.high if found["last"] is None else _number(kind, found["last"], item)
    if last < first:
        _refuse(kind, item, f"a range runs upwards within {kind.allowed}")
    return range(first, last + 1, step or 1), f"{first}-{last}" + (f"/{step}" if step else "")


def _hashed(kind: Kind, found: re.Match[str], step: int | None, seed: int) -> tuple[range, str]:
    item = found.string
    first = _bound(kind, found["hash_from"] or found["any_from"], kind.low, item)
    last = _bound(kind, found["hash_to"] or found["any_to"], kind.hash_high, item)
    if kind is DAY:
        last = min(last, LAST_HASHED_DAY)
    if last < first:
        within = f"{kind.low}-{kind.hash_high}"
        _refuse(kind, item, f"a range that runs upwards within {within}, so that every round has it")
    begin = first + seed % min(step or last - first + 1, last - first + 1)
    if step is None:
        return range(begin, begin + 1), str(begin)
    return range(begin, last + 1, step), f"{begin}-{last}/{step}"


def _bound(kind: Kind, word: str | None, otherwise: int, item: str) -> int:
    return _number(kind, word, item) if word else otherwise


def _number(kind: Kind, word: str, item: str) -> int:
    if word.upper() in kind.names:
        return kind.names[word.upper()]
    if not word.isdigit() or len(word) > 4:
        _refuse(kind, item, _forms(kind))
    number = int(word)
    if not kind.low <= number <= kind.high:
        _refuse(kind, item, kind.allowed)
    return number


def _step(kind: Kind, word: str | None, item: str) -> int | None:
    if word is None:
        return None
    if not word.isdigit() or len(word) > 9 or int(word) == 0:
        _refuse(kind, item, "a step of 1 or more")
    return int(word)


def _forms(kind: Kind) -> str:
    forms = f"{kind.allowed}, *, a-b, */n, a-b/n, lists, H, H(a-b), H/n, a~b"
    if kind is DAY:
        return f"{forms}, ?, L, L-n, LW, nW"
    if kind is WEEKDAY:
        return f"{forms}, ?, d#n, d#L, dL, a leading +"
    return forms


def shorten(text: str) -> str:
    """What was seen, quoted, with control characters made visible, at most 60 characters of it."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def _refuse(kind: Kind, seen: str, allowed: str) -> NoReturn:
    raise ScheduleError(f"{kind.name} is {shorten(seen)}; allowed: {allowed}")
