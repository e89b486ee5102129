"""File systems that are full: under the database, the logs, the temporary folder. Each is a small one of its own."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from checker import check, settle
from world import LEASE_S, Watcher, World, wait_until, world

SIZE = "20m"
#: From the moment that there is room again.
RESUMED_S = 10.0
#: The status file is written at once when the answer changes; a write has to fail before, or the loop to look.
TOLD_S = 15.0
PLACES = ("database", "logs", "tmp")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "chaos", folder], check=False)
    if done.returncode:
        raise RuntimeError(
            "mount is not permitted here; play this scenario as root of a machine or of its own namespace"
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """To the last byte, and so for as long as it takes: what others free there is taken at once."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return ballast


def full(kind: str, times: int, dwell_s: float, places: Sequence[str] = PLACES) -> dict[str, Any]:
    """Each place full for some seconds, `times` times: nothing ends, the status file says so, and all goes on after."""
    found: dict[str, Any] = {"violations": []}
    for place in places:
        for key, value in _one_place(kind, place, times, dwell_s).items():
            if key == "violations":
                found["violations"] += [f"{place}: {violation}" for violation in value]
            else:
                found[key if key.startswith(place) else f"{place}_{key}"] = value
    return found


def _one_place(kind: str, place: str, times: int, dwell_s: float) -> dict[str, Any]:
    home = Path(tempfile.mkdtemp(prefix="chaos-"))
    disk = home / "var" / "logs" if place == "logs" else home / place
    options: dict[str, Any] = {"environment": {"TMPDIR": str(disk)}} if place == "tmp" else {}
    if place == "database":
        options["url"] = f"sqlite:///{disk}/clockmill.db"
    back, told = [], []
    with small_disk(disk), world(kind, folder=home, **options) as made:
        made.start(2)
        made.wait_for_slots(4, 60)
        with Watcher(made) as watcher:
            for _ in range(times):
                ballast = fill(disk)
                began = time.monotonic()
                wait_until(lambda: all(said["problem"] for said in statuses(made)), f"a word on {place}", TOLD_S)
                told.append(time.monotonic() - began)
                while time.monotonic() < began + dwell_s:
                    fill(disk)
                    time.sleep(0.2)
                if place != "database" and not _succeeds(made, 10):
                    watcher.violations.append("nothing succeeds while it is full")
                ballast.unlink()
                back.append(_resumed(made))
                time.sleep(2)
            cut = settle(made, 60 + 6 * LEASE_S)
        found = check(made, cut)
        if kind == "sqlite":
            intact = [row[0] for row in made.rows("PRAGMA integrity_check")]
            found["violations"] += [f"integrity_check: {row}" for row in intact if row != "ok"]
        dead = [daemon.process.returncode for daemon in made.daemons if daemon.process.returncode]
    found["violations"] += watcher.violations + [f"a daemon ended with {code}" for code in dead]
    found["violations"] += [f"went on after {seconds:.1f} s" for seconds in back if seconds > RESUMED_S]
    counts = ("slots", "lost", "twice", "not_done", "violations")
    return {key: found[key] for key in counts} | {"told_max": round(max(told), 1), "resumed_max": round(max(back), 1)}


def statuses(made: World) -> list[dict[str, Any]]:
    """What the daemons say of themselves; one that says nothing is counted, too."""
    said = []
    for path in (made.folder / "var" / "status").glob("*.json"):
        with suppress(ValueError, OSError):
            said.append(json.loads(path.read_text()))
    return said if len(said) == len(made.daemons) else [{"problem": None}]


def _resumed(made: World) -> float:
    """Seconds until something succeeds and every daemon says that it is well."""
    began = time.monotonic()
    if not _succeeds(made, 60):
        return 60.0
    try:
        wait_until(lambda: all(said.get("healthy") for said in statuses(made)), "health", 60)
    except TimeoutError:
        return 60.0
    return time.monotonic() - began


def _succeeds(made: World, timeout: float) -> bool:
    after = int(time.time() * 1e6)
    ended = "SELECT count(*) FROM runs WHERE state = 'succeeded' AND ended_us > :after"
    with suppress(TimeoutError):
        return bool(wait_until(lambda: made.query(ended, after=after) not in ([], [(0,)]), "a success", timeout))
    return False
