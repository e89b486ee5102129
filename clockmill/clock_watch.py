"""Whether somebody set the clock: wall time and the time since boot go on together, sleep included, unless it was."""

from datetime import datetime, timedelta

#: Less than this is slewing, or the time between two readings.
NOTICED = timedelta(seconds=1)
#: Forward by more than this, the clock was wrong before (as cron takes it): the time between never was.
CORRECTION = timedelta(hours=3)


class ClockWatch:
    """Told both clocks now and then, it says by how much the wall clock was set in between."""

    def __init__(self, wall: datetime, boot_us: int) -> None:
        self.wall, self.boot_us = wall, boot_us
        #: The time that the latest correction leapt over: (before, after).
        self.leapt: tuple[datetime, datetime] | None = None

    def look(self, wall: datetime, boot_us: int) -> timedelta:
        """How far the clock was set since the last look: forward, backward (negative), or not at all."""
        expected = self.wall + timedelta(microseconds=boot_us - self.boot_us)
        self.wall, self.boot_us = wall, boot_us
        step = wall - expected
        if abs(step) < NOTICED:
            return timedelta(0)
        if step > CORRECTION:
            self.leapt = (expected, wall)
        return step
