"""A crontab as people have it, read as Debian's cron reads it: entries, variables, comments, and what is wrong with it.

Light on purpose, so that `crontab check` answers at once: neither jobs nor a database are known here.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime

from clockmill.errors import ScheduleError
from clockmill.lint import lint_schedule
from clockmill.local_zone import local_timezone
from clockmill.schedule import Schedule, parse
from clockmill.schedule.fields import shorten
from clockmill.schedule.zones import find_zone

#: Debian's load_env: a name, quoted or not, and all that follows the sign.
_VARIABLE = re.compile(r"""[ \t]*(?:"([^"]*)"|'([^']*)'|([^\s="']+))[ \t]*=[ \t]*(.*)""")
_NICKNAME = re.compile(r"[ \t]*(@\S+)(?:[ \t]+(.*))?", re.ASCII)
_FIELDS = re.compile(r"[ \t]*(\S+(?:[ \t]+\S+){4})(?:[ \t]+(.*))?", re.ASCII)
_WORD = re.compile(r"(\S+)(?:[ \t]+(.*))?", re.ASCII)
#: A word that can only be meant as a field; a line with more of them was written for another scheduler.
_LIKE_A_FIELD = re.compile(r"[*?]|[\d*][\d*,/-]*|\d+-\d+.*", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_.-]*\$?", re.IGNORECASE | re.ASCII)
#: What Debian's cron takes for a field; the rest of the grammar is clockmill's own.
_NAMES = "sun|mon|tue|wed|thu|fri|sat|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_OF_CRON = re.compile(rf"(?:\*(?:/\d+)?|(?:\d+|{_NAMES})(?:-(?:\d+|{_NAMES})(?:/\d+)?)?)", re.IGNORECASE | re.ASCII)
_UNESCAPED = re.compile(r"(?<!\\)%")


@dataclass(frozen=True)
class Problem:
    """What is wrong, or with `mild` only odd, in one line; counted from 1. `foreign`: cron cannot use it, we can."""

    line: int
    sentence: str
    mild: bool = False
    foreign: bool = False

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}"


@dataclass(frozen=True)
class Entry:
    """One job line. `user`: of a system crontab, else empty. `zone`: of a CRON_TZ line above, else empty."""

    line: int
    schedule: str
    user: str
    command: str
    stdin: str
    zone: str
    variables: dict[str, str]
    comments: list[str]

    def parsed(self) -> Schedule:
        return parse(self.schedule, timezone=self.zone or local_timezone())


@dataclass
class CrontabFile:
    """The whole file. Lines with a problem that is not mild have no entry."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    #: Comments after the last entry.
    tail: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[Problem]:
        return [problem for problem in self.problems if not problem.mild]

    @property
    def unusable(self) -> list[Problem]:
        """What cron could not use, whether clockmill could or not."""
        return [problem for problem in self.problems if problem.foreign or not problem.mild]


def read_crontab(data: bytes, *, system: bool, now: datetime) -> CrontabFile:
    """`system`: the form of /etc/crontab and /etc/cron.d, with a user before the command."""
    found = _Reader(system, now)
    lines = data.split(b"\n")
    for number, raw in enumerate(lines[:-1] if not lines[-1] else lines, 1):
        found.take(number, raw)
    if lines[-1]:
        found.complain(len(lines), "no line break at its end; cron does not take the last line without one")
    found.file.tail = found.comments
    return found.file


class _Reader:
    """Takes line after line; variables hold for the lines below them."""

    def __init__(self, system: bool, now: datetime) -> None:
        self.system = system
        self.now = now
        self.file = CrontabFile()
        self.comments: list[str] = []
        self.variables: dict[str, str] = {}
        self.zone = ""

    def complain(self, number: int, sentence: str, mild: bool = False, foreign: bool = False) -> None:
        self.file.problems.append(Problem(number, sentence, mild, foreign))

    def take(self, number: int, raw: bytes) -> None:
        if b"\0" in raw:
            self.complain(number, f"column {raw.index(0) + 1} is NUL; a crontab is text")
            return
        if raw.endswith(b"\r"):
            self.complain(
                number, "ends with a carriage return, as files from Windows do; remove it: sed -i 's/\\r$//' FILE"
            )
            return
        try:
            line = raw.decode()
        except UnicodeDecodeError as e:
            self.complain(number, f"column {e.start + 1} is not UTF-8")
            return
        if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
            self.comments.append(line.strip(" \t"))
        elif variable := _VARIABLE.fullmatch(line):
            self._set(number, variable)
        else:
            self._entry(number, line)

    def _set(self, number: int, found: re.Match[str]) -> None:
        name, value = found[1] or found[2] or found[3] or "", found[4].rstrip(" \t")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if name != "CRON_TZ":
            self.variables[name] = value
            return
        try:
            self.zone = find_zone(value).key if value else ""
        except ScheduleError as e:
            self.complain(number, f"CRON_TZ: {e}")

    def _entry(self, number: int, line: str) -> None:
        found = _NICKNAME.fullmatch(line) or _FIELDS.fullmatch(line)
        if found is None:
            self.complain(
                number, f"it has {len(line.split())} fields and no command; a line has 5 fields and a command"
            )
            return
        schedule, rest = found[1], found[2] or ""
        if schedule in ("@every", "@at"):
            self.complain(number, f"cron has no {schedule}; in clockmill.toml it is a schedule")
            return
        extra = _leading_fields(rest)
        if extra and not schedule.startswith("@"):
            self.complain(number, f"it has {5 + extra} fields; cron reads 5, and {shorten(rest)} as the command")
            return
        try:
            parsed = parse(schedule, timezone=self.zone or local_timezone())
        except ScheduleError as e:
            self.complain(number, str(e))
            return
        user, command = self._user(number, rest)
        if command:
            self._add(number, schedule, user, command)
            for word in _foreign(schedule):
                self.complain(number, f"cron does not know {shorten(word)}", mild=True, foreign=True)
            for finding in lint_schedule(parsed, self.now):
                self.complain(number, f"{finding.sentence} [{finding.rule}]", mild=True)

    def _user(self, number: int, rest: str) -> tuple[str, str]:
        """(user, command); without a command when something is wrong."""
        found = _WORD.fullmatch(rest)
        if found is None:
            self.complain(number, "it has no command")
        elif not self.system:
            if found[1] == "root" and found[2]:
                self.complain(number, 'the command is "root": is it a system crontab? then give --system', mild=True)
            return "", rest
        elif not _USER.fullmatch(found[1]):
            self.complain(number, f"user is {shorten(found[1])}; a system crontab names a user before the command")
        elif not found[2]:
            self.complain(number, f"it has a user, {found[1]}, and no command")
        else:
            return found[1], found[2]
        return "", ""

    def _add(self, number: int, schedule: str, user: str, text: str) -> None:
        command, *following = _UNESCAPED.split(text)
        if following:
            self.complain(
                number, r"% ends the command, the rest is its input; \% is a percent sign [percent]", mild=True
            )
        stdin = "\n".join(following)
        if following and not stdin.endswith("\n"):
            stdin += "\n"
        entry = Entry(
            number,
            " ".join(schedule.split()),
            user,
            command.replace("\\%", "%").rstrip(),
            stdin.replace("\\%", "%"),
            self.zone,
            dict(self.variables),
            self.comments,
        )
        self.file.entries.append(entry)
        self.comments = []


def _foreign(schedule: str) -> list[str]:
    """The fields that Debian's cron would not take."""
    fields = [] if schedule.startswith("@") else schedule.split()
    return [field for field in fields if not all(_OF_CRON.fullmatch(item) for item in field.split(","))]


def _leading_fields(command: str) -> int:
    """How many words of the command's beginning look like fields."""
    count = 0
    for word in command.split():
        if not _LIKE_A_FIELD.fullmatch(word):
            break
        count += 1
    return count
