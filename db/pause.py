"""Waiting, whatever becomes of the clocks."""

import select


def pause(seconds: float) -> None:
    """Waits so long.

    time.sleep waits for an instant of a clock and raises where that clock is tampered with (libfaketime does that); a
    thread that keeps leases must not die of it. This waits for a length of time.
    """
    select.select((), (), (), max(0.0, seconds))
