"""Whether this scheduler is alive: a status file for probes, a word to systemd's watchdog.

var/status/<host>.<pid>.json is replaced whole every few seconds: {"healthy", "pid", "host", "started_at", "beat_at",
"jobs", "workers", "busy", "problem"}. A probe should also look at the file's age: a dead process writes nothing.
"""

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


class Health:
    """`beat` from the loop, `report` from a thread that is not the loop's."""

    def __init__(self, folder: Path, host: str, now: datetime) -> None:
        self.path = folder / f"{host}.{os.getpid()}.json"
        self.host = host
        self.started_at = self.beat_at = now
        self.written_at: datetime | None = None
        self.was_healthy = False
        self.problem = ""

    def beat(self, now: datetime) -> None:
        """The loop has come round."""
        self.beat_at = now

    def healthy(self, now: datetime) -> bool:
        # A clock that was set back makes the beat lie in the future: that is no fault of the loop's.
        return not self.problem and now - self.beat_at <= LATE

    def report(self, now: datetime, **counts: int) -> None:
        """Writes the file when it is time or the answer changed, and tells systemd when all is well."""
        healthy = self.healthy(now)
        if healthy:
            notify("READY=1\nWATCHDOG=1" if not self.was_healthy else "WATCHDOG=1")
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
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = self.path.with_suffix(".new")
            fresh.write_text(json.dumps(whole) + "\n", encoding="utf-8")
            fresh.replace(self.path)
        except OSError:
            # A full disk must not end the loop; the file's age tells.
            pass

    def close(self) -> None:
        """The scheduler ends by its own will."""
        notify("STOPPING=1")
        self.path.unlink(missing_ok=True)


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
