"""The clock that leases count by. It never agrees to be the wall clock of some host.

Servers: the database's own clock, read inside the transaction (not its `now()`, which stands still at the start).
SQLite: one host, so CLOCK_BOOTTIME, which no clock step moves and which counts suspended time; a lease of another
boot has expired.
"""

import os
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, text

SECOND = 1_000_000
#: A lease lasts this long and is renewed three times as often: two renewals may fail. The variable is for tests that
#: kill hundreds of owners; every process on one database needs the same.
LEASE_S = int(os.environ.get("CLOCKMILL_LEASE_S", "30"))
RENEW_S = LEASE_S / 3

#: What was recorded at a time so far in the future was recorded by a clock that was ahead and has been put right. Hosts
#: that serve one database differ by less.
AHEAD_US = 60 * SECOND

DATABASE_NOW = {
    "postgresql": text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"),
    "mysql": text("SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"),
    "mariadb": text("SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"),
}


class LeaseClock:
    """Microseconds to compare leases with, and the boot they belong to (None on a server)."""

    def __init__(self, engine: Engine) -> None:
        self._statement = DATABASE_NOW.get(engine.dialect.name)
        self.boot_id = None if self._statement is not None else boot_id()

    def now(self, connection: Connection) -> int:
        if self._statement is None:
            return boot_micros()
        return int(connection.execute(self._statement).scalar_one())

    def expired(self, lease_us: int | None, lease_boot: str | None, now: int) -> bool:
        """True when whoever held that lease has lost it."""
        return lease_us is None or lease_us < now or lease_boot != self.boot_id


def boot_micros() -> int:
    """Microseconds since boot, suspended time included (where the system tells it)."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1000


def boot_id() -> str:
    """A name for this boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Elsewhere than on Linux: the boot's wall time to the minute is as near as one gets.
        return f"boot-{(time.time_ns() // 1000 - boot_micros()) // (60 * SECOND)}"
