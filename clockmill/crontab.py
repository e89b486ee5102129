"""The schedule as lines for system cron: each line starts the same run that the scheduler would."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from clockmill.errors import ConfigError, ScheduleError
from clockmill.job_spec import JobSpec
from clockmill.local_zone import local_timezone
from clockmill.mill import zone_of
from clockmill.schedule import Schedule

#: Where the example says that clockmill is installed.
BIN = "/opt/clockmill/bin/clockmill"

HEAD = """\
# The schedule of clockmill for system cron; made by `clockmill crontab render`.
# Each line runs the job's latest slot. Cron lines and a running scheduler may be used together: a slot runs once,
# whoever starts it first. Install this for one user with `crontab FILE`.
SHELL=/bin/sh
PATH=/usr/local/bin:/usr/bin:/bin
# Cron mails what a line prints; these lines print to their log. MAILTO=ops@example.com would mail the rest.
MAILTO=""
# Times are in the system's zone. Debian's cron knows no CRON_TZ, cronie's reads it for the lines that follow it:
# either way the lines below are those of the zone of the machine that they were made for.
CLOCKMILL_HOME={home}
"""


def render(jobs: Iterable[tuple[JobSpec, Schedule | None]], *, bin: str, home: str, log: str) -> str:
    """The whole crontab. Raises ConfigError, with every reason, when a job cannot be said in system cron's terms."""
    lines = all_lines(jobs, _quoted(_one_line(bin, "--bin")), log)
    return HEAD.format(home=_one_line(home, "--home")) + "\n" + "\n".join(lines) + "\n"


def block(jobs: Iterable[tuple[JobSpec, Schedule | None]], *, bin: str, home: str, log: str) -> list[str]:
    """The lines alone, for a crontab that holds others too: a variable set here would hold for the lines below."""
    variable = _quoted(f"CLOCKMILL_HOME={_one_line(home, '--home')}")
    return all_lines(jobs, f"/usr/bin/env {variable} {_quoted(_one_line(bin, '--bin'))}", log)


def all_lines(jobs: Iterable[tuple[JobSpec, Schedule | None]], command: str, log: str) -> list[str]:
    lines, refused = [], []
    for spec, schedule in jobs:
        try:
            lines += job_lines(spec, schedule, command, log) if schedule else []
        except ScheduleError as e:
            refused.append(f"job {spec.name}: {e}")
    if refused:
        raise ConfigError("system cron cannot run these jobs as configured: " + "; ".join(refused))
    return lines


def job_lines(spec: JobSpec, schedule: Schedule, clockmill: str, log: str) -> list[str]:
    """One line for each expression of the job's schedule. Raises ScheduleError for what cron would do otherwise."""
    zone, here = zone_of(spec), local_timezone()
    if not same_zone(zone, here):
        raise ScheduleError(f'its zone is {zone}, system cron works in the system\'s, {here}; set timezone = "local"')
    command = f"{clockmill} run {spec.name} --slot >> {_quoted(_one_line(log, '--log'))} 2>&1"
    # An unescaped % ends the command for cron.
    escaped = command.replace("%", r"\%")
    return [f"{line} {escaped}" for line in schedule.crontab_lines()]


def same_zone(a: str, b: str) -> bool:
    utc = {"UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Etc/Universal", "Universal"}
    return a == b or {a, b} <= utc


def _one_line(text: str, option: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise ConfigError(f"{option}: a crontab line cannot hold control characters, got {text!r}")
    return text


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(str(PurePosixPath(path)))


def defaults() -> Mapping[str, str]:
    """What the shipped example is made with."""
    return {"bin": BIN, "home": "/var/lib/clockmill", "log": "/var/lib/clockmill/var/cron.log"}
