"""A bell between processes of one home: whoever asks for a run rings, and idle workers look at once.

Only a hint: a bell that is not heard costs a worker's next look, which comes every second anyhow. Each process that
listens has a datagram socket in var/bells; sockets whose process is gone are thrown away by whoever rings.
"""

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

FOLDER = "bells"
RING = b"."
#: More than could gather between two looks; the rest is drained at the next one.
MANY = 4096


class Bell:
    """One process's own: `wait` hears its threads and, where its socket can be made, other processes."""

    def __init__(self, var: Path, name: str) -> None:
        self._heard, self._near = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self._folder = var / FOLDER
        self._name = name
        self._far = self._open()

    def _open(self) -> socket.socket | None:
        far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _near(self._folder) as folder:
                far.bind(f"{folder}/{self._name}")
        except OSError:
            far.close()
            return None
        return far

    def ring(self) -> None:
        """From a thread of this process."""
        # A full buffer holds rings enough; one that is closed has nobody to hear them.
        with contextlib.suppress(OSError):
            self._near.send(RING)

    def wait(self, seconds: float) -> None:
        """Until it rings, or so long. Rings that came together are one."""
        sockets = [self._heard, self._far] if self._far else [self._heard]
        for ready in select.select(sockets, [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                for _ in range(MANY):
                    ready.recv(len(RING), socket.MSG_DONTWAIT)

    def close(self) -> None:
        for end in (self._heard, self._near, self._far):
            if end:
                end.close()
        with contextlib.suppress(OSError):
            (self._folder / self._name).unlink()


def ring(var: Path) -> None:
    """Rings every bell of this home."""
    with contextlib.suppress(OSError), _near(var / FOLDER) as folder:
        for path in Path(folder).iterdir():
            _ring_one(str(path))


def _ring_one(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ringing:
        try:
            ringing.setblocking(False)
            ringing.sendto(RING, path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                Path(path).unlink()
        except OSError:
            # A full buffer, or a bell that was taken down meanwhile.
            return


@contextlib.contextmanager
def _near(folder: Path) -> Iterator[str]:
    """A short name of the folder: socket paths end at 107 bytes, homes may lie deeper."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{fd}"
        yield short if Path(short).is_dir() else str(folder)
    finally:
        os.close(fd)
