"""clockmill on a host that slept for as long as its wall clock was moved: the kernel's clock of the boot counts sleep.

libfaketime moves the wall clock alone; the file that it reads moves the other one here.
"""

import os
import sys
import time
from pathlib import Path

clock_gettime_ns = time.clock_gettime_ns
moved = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])


def with_sleep(clock: int) -> int:
    slept = int(float(moved.read_text()) * 1e9) if clock == time.CLOCK_BOOTTIME else 0
    return clock_gettime_ns(clock) + slept


time.clock_gettime_ns = with_sleep

if __name__ == "__main__":
    from clockmill.cli import main

    sys.argv[0] = "clockmill"
    main()
