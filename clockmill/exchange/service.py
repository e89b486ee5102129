"""A scheduler's hold on its process for messages: begun, watched, begun again when it dies, ended."""

import json
import logging
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable

from clockmill.exchange.office import REPLACE
from clockmill.mill import Mill

#: A process that dies is begun again after so many seconds; the last one stands for the rest.
AGAIN_S = (0.0, 0.5, 1.0, 2.0, 5.0)
#: One that lived so long died of something new.
LONG_S = 60.0
#: It may take so long to finish what is under way.
END_S = 15.0

log = logging.getLogger("clockmill.messages")


class Messages:
    """`watch` has to be called once in a while."""

    def __init__(self, mill: Mill, heard: Callable[[str], None] = lambda _: None) -> None:
        """Begins nothing yet. `heard` is called from another thread with what is broadcast."""
        self.mill = mill
        self.heard = heard
        self.owner = str(uuid.uuid4())
        self.problem = "messages: its process has not begun"
        self.process: subprocess.Popen[str] | None = None
        #: When the process has to be gone that was asked to end.
        self.end_by = 0.0
        self.deaths = 0
        self.begun = 0.0
        self.again = 0.0
        self.careful = False

    def start(self) -> None:
        words = [str(self.mill.config.file)] if self.mill.config.file else []
        # The same owner as the one before it: what that held is its own.
        words += [f"--owner={self.owner}", *(["--careful"] if self.careful else [])]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "clockmill.exchange.office", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C at a terminal is the scheduler's to hear.
            start_new_session=True,
        )
        self.problem = ""
        threading.Thread(target=self._listen, args=(self.process,), name="messages", daemon=True).start()

    def watch(self) -> str:
        """Begins it again when it died or has ended as asked; what is wrong, "" for nothing."""
        if self.process is not None and self.end_by and time.monotonic() > self.end_by:
            self.process.kill()
        if self.process is not None and (code := self.process.poll()) is not None:
            self.process = None
            self._note_death(code)
        if self.process is None and time.monotonic() >= self.again:
            self.start()
        return self.problem

    def _note_death(self, code: int) -> None:
        if self.end_by:
            # It was asked to make room for its successor.
            self.end_by, self.deaths, self.again = 0.0, 0, 0.0
            return
        self.deaths = 1 if time.monotonic() - self.begun > LONG_S else self.deaths + 1
        self.again = time.monotonic() + AGAIN_S[min(self.deaths, len(AGAIN_S)) - 1]
        if code == REPLACE:
            return
        # A signal, or an exit that nobody asked for: perhaps an event's doing.
        self.careful = True
        self.problem = self.problem or f"messages: its process ended with exit code {code}"
        log.error("the process for messages ended with exit code %d; it is begun again", code)

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                # A handler printed something.
                log.info("%s", line.rstrip())
                continue
            if isinstance(said, dict) and "problem" in said and process is self.process:
                self._note(str(said["problem"]))
            elif isinstance(said, dict) and "broadcast" in said:
                self.heard(str(said["broadcast"]))

    def _note(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("messages: %s", problem)
        elif not problem and self.problem:
            log.info("messages: all is well again")
        self.problem = problem

    def renew(self, mill: Mill) -> None:
        """A process with the code and configuration as they are now, when this one has finished what is under way."""
        self.mill = mill
        if self.process is not None:
            self.end_by = time.monotonic() + END_S
            self.process.terminate()

    def stop(self) -> None:
        """What is under way is finished; then it is gone."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
