"""Feeds parsed in a child process, so that a document which never ends costs two seconds and one feed.

The child speaks JSON lines on its standard input and output: a header line and the document in, one line out. It
lives for many documents, is killed by the kernel when one of them takes too much time or memory, and ends with its
parent, whose end closes the pipe.
"""

import json
import math
import os
import resource
import subprocess
import sys
import threading
from dataclasses import asdict
from datetime import datetime
from typing import IO, Any, Self

from clockmill.errors import FeedError
from clockmill.fetch import feeds

#: Processor seconds for one document.
MAX_SECONDS = 2
#: Wall seconds for one document, on a machine with no processor to spare.
MAX_WALL = 30.0
MAX_MEMORY = 1 << 30


class Sandbox:
    """A context manager with `parse`, which threads may share; the child starts with the first document."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def parse(self, document: bytes, content_type: str = "", url: str = "") -> list[feeds.Item]:
        """As `feeds.parse`, and FeedError when that takes more than MAX_SECONDS of processor time."""
        header = {"size": len(document), "content_type": content_type, "url": url}
        with self._turn:
            line = self._ask(json.dumps(header).encode() + b"\n" + document)
        if not line.endswith(b"\n"):
            raise FeedError(
                f"its parsing took more than {MAX_SECONDS} s or 1 GB and was ended; ask its owner to repair it"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise FeedError(answer["error"])
        return [_item(values) for values in answer["items"]]

    def _ask(self, request: bytes) -> bytes:
        """The child's answer; cut short or empty when it died of the request, and then it is no more."""
        child = self._child or self._start()
        guard = threading.Timer(MAX_WALL, child.kill)
        guard.start()
        try:
            line = _exchange(child, request)
        finally:
            guard.cancel()
        if not line.endswith(b"\n"):
            self._end()
        return line

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: a file named like a module in the current directory must not be imported.
        command = [sys.executable, "-P", "-m", "clockmill.fetch.sandbox"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The child's loop, until its parent is gone."""
    while line := requests.readline():
        header = json.loads(line)
        document = requests.read(header["size"])
        _allow_processor_time()
        answers.write(json.dumps(_answer(document, header)).encode() + b"\n")
        answers.flush()


def _answer(document: bytes, header: dict[str, Any]) -> dict[str, Any]:
    try:
        items = feeds.parse(document, header["content_type"], header["url"])
    except FeedError as error:
        return {"error": str(error)}
    return {"items": [_values(item) for item in items]}


def _values(item: feeds.Item) -> dict[str, Any]:
    return {**asdict(item), "published_at": item.published_at and item.published_at.isoformat()}


def _item(values: dict[str, Any]) -> feeds.Item:
    published = values["published_at"]
    return feeds.Item(**{**values, "published_at": published and datetime.fromisoformat(published)})


def _exchange(child: subprocess.Popen[bytes], request: bytes) -> bytes:
    """The child's line, cut short or empty when it died."""
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(request)
        child.stdin.flush()
    except BrokenPipeError:
        return b""
    return child.stdout.readline()


def _allow_processor_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime) + MAX_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    import feedparser  # noqa: F401  (before the first document's clock starts)

    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
