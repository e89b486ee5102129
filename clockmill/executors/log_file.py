"""An attempt's log: what the job wrote, the first and the last of it when it wrote too much."""

import os
from collections import deque
from pathlib import Path

#: The first so many bytes are kept as they come, and the last so many of what follows.
HEAD = 1_000_000
TAIL = 1_000_000


class LogFile:
    """Takes bytes as they come, of any kind and length; memory is bounded by TAIL."""

    def __init__(self, path: Path, echo: int | None = None) -> None:
        self._fd = _open(path)
        self._echo = echo
        self._written = 0
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._dropped = 0

    def write(self, data: bytes) -> None:
        if self._echo is not None:
            self._show(self._echo, data)
        head = data[: max(0, HEAD - self._written)]
        if head:
            self._save(head)
            self._written += len(head)
        self._keep(data[len(head) :])

    def _show(self, fd: int, data: bytes) -> None:
        try:
            write_all(fd, data)
        except OSError:
            # Whoever watched has gone away; the run goes on.
            self._echo = None

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= TAIL:
            gone = self._tail.popleft()
            self._tail_bytes -= len(gone)
            self._dropped += len(gone)

    def _save(self, data: bytes) -> None:
        try:
            write_all(self._fd, data)
        except OSError:
            # A full disk loses the log, not the run.
            self._dropped += len(data)

    def close(self) -> None:
        tail = b"".join(self._tail)
        cut = max(0, len(tail) - TAIL)
        if self._dropped + cut:
            self._save(b"\n[... %d bytes left out here ...]\n" % (self._dropped + cut))
        self._save(tail[cut:])
        os.close(self._fd)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, flags, 0o600)
    except OSError:
        # A disk that is full or read-only loses the log, not the run.
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def write_all(fd: int, data: bytes) -> None:
    """os.write may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
