"""Exit codes, beside click's own: 0 done, 1 failed, 2 usage or configuration."""

FAILED = 1
USAGE = 2
#: Running elsewhere, refused by overlap or pause, or locked: EX_TEMPFAIL, "try again later".
BUSY = 75
TIMED_OUT = 124
INTERRUPTED = 130
TERMINATED = 143
