"""The seed: a process that was forked before any job's code was loaded, and from which warm parents grow later.

    scheduler ── seed ── warm parent of the configuration that a reload brought
        └── warm parent of the configuration of the start

A scheduler that runs holds connections, threads and the jobs' old code; what it forked would inherit them.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable

from clockmill.errors import ClockmillError
from clockmill.executors.order import Body
from clockmill.executors.warm_parent import Ends, serve

#: Loading the jobs' code may take so long.
PATIENCE_S = 60.0
MESSAGE_BYTES = 65536
GROWN, FAILED = b"+", b"-"


class Seed:
    """The scheduler's end of it. One warm parent grows at a time."""

    def __init__(self, make: Callable[[str], Body]) -> None:
        """Forks at once. `make`: loads the jobs' code as the words given to `grow` say, in a new process each time."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if not self.pid:
            self._socket.close()
            try:
                _live(theirs, make)
            finally:
                os._exit(0)
        theirs.close()
        self._socket.settimeout(PATIENCE_S)

    def fileno(self) -> int:
        """For children of the scheduler, to close it: while one of them holds it, the seed outlives the scheduler."""
        return self._socket.fileno()

    def grow(self, words: str, ends: Ends) -> int:
        """The pid of a new warm parent with these ends of its pipes. Raises ClockmillError when it cannot be made."""
        try:
            socket.send_fds(self._socket, [words.encode() or b" "], list(ends))
            answer = self._socket.recv(MESSAGE_BYTES)
        except OSError as e:
            raise ClockmillError(f"the process that loads jobs does not answer: {e}; restart the scheduler") from None
        if not answer.startswith(GROWN):
            raise ClockmillError(answer[1:].decode("utf-8", "replace") or "the process that loads jobs has died")
        return int(answer[1:])

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _live(asked: socket.socket, make: Callable[[str], Body]) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    while True:
        words, ends, _, _ = socket.recv_fds(asked, MESSAGE_BYTES, 3)
        if not words:
            return
        if not os.fork():
            _grow(asked, make, words.decode().strip(), (ends[0], ends[1], ends[2]))
        for fd in ends:
            os.close(fd)


def _grow(asked: socket.socket, make: Callable[[str], Body], words: str, ends: Ends) -> None:
    try:
        body = make(words)
    except BaseException as e:
        asked.send(FAILED + f"{type(e).__name__}: {e}".encode()[: MESSAGE_BYTES // 2])
        os._exit(1)
    asked.send(GROWN + str(os.getpid()).encode())
    asked.close()
    try:
        serve(*ends, body)
    finally:
        os._exit(0)
