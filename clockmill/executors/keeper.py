"""The keeper of one attempt: a small process between the scheduler and the job.

    scheduler ── warm parent ── keeper ── job, and whatever the job starts

It starts the job in a session of its own, drains what the job writes, ends it when its time is over or its scheduler
is gone, and sees that nothing of it survives: as subreaper it inherits the job's orphans, in whatever session they are.
It opens no database and has one thread.
"""

import contextlib
import errno
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from clockmill.executors import limits, process_tree
from clockmill.executors.log_file import LogFile, write_all
from clockmill.executors.order import Cause, Exit, Order

#: From TERM to KILL.
GRACE_S = 10.0
#: Output that a survivor of the job still holds open is waited for so long, then the survivor is killed.
DRAIN_S = 2.0
#: Told to end the job: gently, or at once.
CANCEL, KILL = signal.SIGTERM, signal.SIGUSR1
#: What a keeper answers to; blocked while it is forked, and until it can.
KEPT_SIGNALS = (signal.SIGCHLD, CANCEL, KILL)

READ_BYTES = 65536


class Keeper:
    """Runs one order to its end. `run` returns when the job and everything it started is gone."""

    def __init__(self, order: Order, lifeline: int, report: int) -> None:
        self.order = order
        self.lifeline = lifeline
        self.report = report
        self.cause: Cause = "exit"
        self.kill_at: float | None = None
        self.status: int | None = None
        self.ended_at: float | None = None
        self.watched_at = 0.0
        self.deadline = time.monotonic() + order.timeout_s

    def run(self, body: Callable[[Order], int]) -> None:
        os.setsid()
        process_tree.adopt_orphans()
        wakeup, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for number in KEPT_SIGNALS:
            signal.signal(number, self._on_signal)
        output, into = os.pipe2(os.O_CLOEXEC)
        self.child = self._start(body, into, output)
        os.close(into)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT_SIGNALS)
        self.tell({"pid": self.child, "pid_start": process_tree.start_time(self.child)})
        log = LogFile(Path(self.order.log), echo=2 if self.order.echo else None)
        self._keep(output, wakeup, log)
        log.close()
        self._finish()

    # -- the job's process

    def _start(self, body: Callable[[Order], int], into: int, output: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            os.setsid()
            process_tree.die_with_parent()
            signal.set_wakeup_fd(-1)
            for number in (*KEPT_SIGNALS, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT_SIGNALS)
            for fd, target in ((self._input(), 0), (into, 1), (into, 2)):
                os.dup2(fd, target)
            os.close(output)
            limits.apply(self.order)
            code = self._command() if self.order.command else self._function(body)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(code)

    def _input(self) -> int:
        """The job's standard input: an unnamed file, in memory where that can be; nobody has to feed a pipe."""
        if not self.order.stdin:
            return os.open(os.devnull, os.O_RDONLY)
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("stdin")
            write_all(fd, self.order.stdin.encode())
            os.lseek(fd, 0, os.SEEK_SET)
            return fd
        with tempfile.TemporaryFile() as file:
            file.write(self.order.stdin.encode())
            file.seek(0)
            return os.dup(file.fileno())

    def _function(self, body: Callable[[Order], int]) -> int:
        # Line by line, so that a log can be followed and a kill loses nothing; no character is worth the job's life.
        with open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False) as output:
            sys.stdout = sys.stderr = output
            return body(self.order)

    def _command(self) -> int:
        argv = ("/bin/sh", "-c", *self.order.command) if self.order.shell else self.order.command
        try:
            os.chdir(self.order.folder)
        except OSError as e:
            self.tell({"reason": f"its folder {self.order.folder} cannot be entered: {e.strerror}"})
            return 126
        try:
            os.execvpe(argv[0], argv, dict(self.order.environment or os.environ))
        except OSError as e:
            self.tell({"reason": f'"{argv[0]}" cannot be run: {e.strerror}'})
            return 127 if e.errno == errno.ENOENT else 126

    # -- while it runs

    def _keep(self, output: int, wakeup: int, log: LogFile) -> None:
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        # The scheduler never writes here; its death, of whatever kind, closes the other end.
        poll.register(self.lifeline, 0)
        open_output = True
        while open_output or self.status is None:
            for fd, _ in poll.poll(self._patience_ms()):
                if fd == output and not self._drain(output, log):
                    poll.unregister(output)
                    open_output = False
                elif fd == wakeup:
                    os.read(wakeup, 512)
                elif fd == self.lifeline:
                    poll.unregister(self.lifeline)
                    self._end("orphaned", at_once=True)
            self._reap()
            self._watch_time()
            self._watch_memory()
            if self.ended_at is not None and time.monotonic() > self.ended_at + DRAIN_S:
                break

    def _patience_ms(self) -> float:
        times = [self.deadline, self.kill_at, self.ended_at and self.ended_at + DRAIN_S]
        soonest = min(at for at in times if at is not None)
        longest = limits.WATCH_S if self.order.memory else 1.0
        return max(0.0, min(soonest - time.monotonic(), longest)) * 1000 + 1

    def _drain(self, output: int, log: LogFile) -> bool:
        data = os.read(output, READ_BYTES)
        log.write(data)
        return bool(data)

    def _reap(self) -> bool:
        """False when nothing is left to wait for: whatever the job started would be a child of this process."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self.child:
                    self.status, self.ended_at = found[1], time.monotonic()
            return True
        return False

    def _watch_time(self) -> None:
        now = time.monotonic()
        if now >= self.deadline and self.status is None and self.cause == "exit":
            self._end("timeout", at_once=False)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = None
            process_tree.kill_descendants(os.getpid(), self._reap)

    def _watch_memory(self) -> None:
        if self.order.memory and self.cause == "exit" and time.monotonic() >= self.watched_at + limits.WATCH_S:
            self.watched_at = time.monotonic()
            if limits.exceeded(os.getpid(), self.order.memory):
                self._end("memory", at_once=True)

    def _on_signal(self, number: int, frame: object) -> None:
        if number != signal.SIGCHLD:
            self._end("cancel", at_once=number == KILL)

    def _end(self, cause: Cause, at_once: bool) -> None:
        if self.status is None and self.cause == "exit":
            self.cause = cause
        self.deadline = float("inf")
        if not at_once:
            process_tree.send(process_tree.descendants(os.getpid()), signal.SIGTERM)
        self.kill_at = time.monotonic() + (0.0 if at_once else GRACE_S)

    # -- the end

    def _finish(self) -> None:
        if self._reap() or not process_tree.ADOPTS:
            process_tree.kill_descendants(os.getpid(), self._reap)
            self._reap()
        status = self.status if self.status is not None else signal.SIGKILL
        ended = Exit(
            cause=self.cause,
            code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            peak_rss_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        )
        self.tell({"exit": ended.__dict__})

    def tell(self, message: dict[str, object]) -> None:
        write_message(self.report, self.order.key, message)


def write_message(report: int, key: str, message: dict[str, object]) -> None:
    """One line to whoever ordered the attempt. Lines up to PIPE_BUF bytes are written whole, whoever else writes."""
    line = json.dumps({"key": key, **message}).encode() + b"\n"
    if len(line) > select.PIPE_BUF:
        reason = str(message.get("reason", ""))[: select.PIPE_BUF // 8]
        line = json.dumps({"key": key, "reason": reason}).encode() + b"\n"
    with contextlib.suppress(BrokenPipeError):
        os.write(report, line)
