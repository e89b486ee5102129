"""A schedule in plain English. cronsim words the fields that it knows; the days and years that it lacks are added."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cronsim.explain import Day, Expression, join

from clockmill.schedule.fields import SECOND, YEAR, Field, Special
from clockmill.schedule.interval import read_duration
from clockmill.schedule.line import Line, read_line
from clockmill.schedule.pattern import LAST_INSTANT, NEVER

if TYPE_CHECKING:
    from clockmill.schedule.schedule import Schedule

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_ORDINAL = re.compile(r"(?<!1)([123])th\b")  # cronsim writes 21th, 22th, 23th, 31th
_ENDINGS = {"1": "1st", "2": "2nd", "3": "3rd"}
_MOST_YEARS = 6


def explain(schedule: "Schedule") -> str:
    """A sentence and its zone for each expression, then what the schedule leaves out, its limits and its jitter."""
    sentences = [_sentence(read_line(text, schedule.name), schedule) for text in schedule.expressions]
    head, *rest = sentences
    words = "; also: ".join([head, *(words[0].lower() + words[1:] for words in rest)]) + _extras(schedule)
    return f"{words}: never" if schedule.never() else words


def _sentence(line: Line, schedule: "Schedule") -> str:
    if line.sort == "@reboot":
        return "When the host starts"
    if line.sort == "@every":
        return _every(read_duration(line.argument), schedule)
    if line.sort == "@at":
        moment = line.argument.replace("T", " ")
        return f"Once, at {moment} ({line.zone or schedule.timezone})"
    return f"{_cron(line)}{_years(line)} ({line.zone or schedule.timezone})"


def _every(seconds: int, schedule: "Schedule") -> str:
    anchor = "" if schedule.first == NEVER else f", counted from {_instant(schedule.first)}"
    length = _length(seconds)
    return f"Every {length if ' and ' in length else length.removeprefix('1 ')}{anchor} (UTC)"


def _length(seconds: int) -> str:
    words = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count} {unit}" + ("s" if count > 1 else ""))
    return join(words)


def _cron(line: Line) -> str:
    fields = [field for field in line.fields if field.kind is not YEAR]
    words = ["0"] if fields[0].kind is not SECOND else []
    expression = Expression([*words, *(_words(field) for field in fields)])
    expression.day_and = line.day_and
    days = _special_days(line.days)
    if days:
        expression.day = _Days(join(days))
    return _ORDINAL.sub(lambda found: _ENDINGS[found[1]], expression.explain())


class _Days(Day):
    """Day words of our own in the place of cronsim's."""

    def __init__(self, words: str) -> None:
        super().__init__("1")
        self.words = words
        self.single_value = None

    def __str__(self) -> str:
        return f"on {self.words}"


def _words(field: Field) -> str:
    """The field in cronsim's grammar; a step beyond the range is the single number that it leaves."""
    if field.specials:
        return ",".join([*map(str, field.values()), *map(_special, field.specials)])
    low, high = field.kind.low, field.kind.high
    return ",".join(
        str(low) if item.startswith("*/") and int(item[2:]) > high - low else item for item in field.said.split(",")
    )


def _special(special: Special) -> str:
    if special.sort == "#":
        return f"{special.weekday}#{special.number}" if special.number else f"{special.weekday}L"
    return "LW" if special.sort == "LW" else "L"


def _special_days(field: Field) -> list[str]:
    """Words for all days of the field when one of them is beyond cronsim; none otherwise."""
    if not any(special.sort == "W" or special.number for special in field.specials):
        return []
    return [f"the {_ordinal(value)} day of the month" for value in field.values()] + [
        _special_day(special) for special in field.specials
    ]


def _special_day(special: Special) -> str:
    if special.sort == "W":
        return f"the weekday nearest to the {_ordinal(special.number)} day of the month"
    if special.sort == "LW":
        return "the last weekday of the month"
    if special.number:
        return f"the {_ordinal(special.number + 1)} day of the month counted from its end"
    return "the last day of the month"


def _ordinal(number: int) -> str:
    return f"{number}th"  # _ORDINAL puts the ending right


def _years(line: Line) -> str:
    field = line.fields[-1]
    years = field.values() if field.kind is YEAR and field.said != "*" else []
    if not years:
        return ""
    if len(years) <= _MOST_YEARS:
        return f" in {join([str(year) for year in years])}"
    step = years[1] - years[0]
    if years == list(range(years[0], years[-1] + 1, step)):
        every = "every year" if step == 1 else f"every {step} years"
        return f" in {every} from {years[0]} to {years[-1]}"
    return f" in {len(years)} years from {years[0]} to {years[-1]}"


def _extras(schedule: "Schedule") -> str:
    words = []
    if schedule.exclude:
        words.append(f"except {join(list(schedule.exclude))}")
    if schedule.first != NEVER:
        words.append(f"from {_instant(schedule.first)}")
    if schedule.last != LAST_INSTANT:
        words.append(f"until {_instant(schedule.last)}")
    if schedule.jitter:
        words.append(f"each delayed by less than {_length(max(1, int(schedule.jitter.total_seconds())))}")
    return "".join(f", {word}" for word in words)


def _instant(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M:%S} UTC".replace(":00 UTC", " UTC")
