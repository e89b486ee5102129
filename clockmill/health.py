"""Whether this scheduler is alive: a status file for probes, a word to systemd's watchdog.

var/status/<host>.<pid>.json is replaced whole every few seconds: {"healthy", "pid", "host", "started_at", "beat_at",
"jobs", "workers", "busy", "problem"}. Unhealthy is a loop that stands, and one whose database is away or whose disk is
full; `problem` says which. A probe should also look at the file's age: a dead process writes nothing.
"""

import contextlib
import json
import os
import socket
from datetime import datetime, timedelta
from pathlib import Path

from clockmill.slots import iso

#: The loop beats every second; later than this it is stuck, and neither the file nor systemd hears that all is well.
LATE = timedelta(seconds=5)
#: The file is written so often; systemd is told every time.
WRITE = timedelta(seconds=5)
#: How long the file is at least.
BYTES = 1024


class Health:
    """`beat` from the loop, `report` from a thread that is not the loop's."""

    def __init__(self, folder: Path, host: str, now: datetime) -> None:
        self.path = folder / f"{host}.{os.getpid()}.json"
        self.host = host
        self.started_at = self.beat_at = now
        self.written_at: datetime | None = None
        self.was_healthy = self.was_ready = False
        self.problem = ""
        #: What went wrong last, by what was tried; it is no problem any more when it goes well.
        self.complaints: dict[str, str] = {}

    def beat(self, now: datetime) -> None:
        """The loop has come round."""
        self.beat_at = now

    def told(self, what: str, complaint: str) -> None:
        """How it went when this was tried last; an empty complaint: well."""
        if complaint:
            self.complaints[what] = complaint
        else:
            self.complaints.pop(what, None)

    def turning(self, now: datetime) -> bool:
        """Whether the loop comes round."""
        # A clock that was set back makes the beat lie in the future: that is no fault of the loop's.
        return now - self.beat_at <= LATE

    def report(self, now: datetime, **counts: int) -> None:
        """Writes the file when it is time or the answer changed, and tells systemd that the loop turns.

        A database that is away or a disk that is full is told in the file alone: a restart would mend neither.
        """
        turning = self.turning(now)
        if turning:
            notify("WATCHDOG=1" if self.was_ready else "READY=1\nWATCHDOG=1")
            self.was_ready = True
        self.problem = "; ".join(self.complaints.values()) if turning else f"the loop stands since {iso(self.beat_at)}"
        healthy = turning and not self.problem
        due = self.written_at is None or abs(now - self.written_at) >= WRITE
        if due or healthy != self.was_healthy:
            self.written_at, self.was_healthy = now, healthy
            self._write({"healthy": healthy, "problem": self.problem or None, **counts})

    def _write(self, says: dict[str, object]) -> None:
        whole = {
            **says,
            "pid": os.getpid(),
            "host": self.host,
            "started_at": iso(self.started_at),
            "beat_at": iso(self.beat_at),
        }
        # Of one length, so that it can be written over where there is no room for another file.
        text = (json.dumps(whole).ljust(BYTES - 1) + "\n").encode()
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_bytes(text)
            fresh.replace(self.path)
        except OSError:
            _write_over(self.path, text)
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)

    def close(self) -> None:
        """The scheduler ends by its own will."""
        notify("STOPPING=1")
        self.path.unlink(missing_ok=True)


def _write_over(path: Path, text: bytes) -> None:
    """A full disk must not end the loop; where even this fails, the file's age tells."""
    with contextlib.suppress(OSError), path.open("r+b") as file:
        file.write(text)
        file.truncate()


def notify(message: str) -> None:
    """Tells systemd (sd_notify(3)); without systemd nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        # systemd went away; its watchdog will say so.
        pass
