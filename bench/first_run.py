"""The demo's phases on a clean machine: environment, installation, application, jobs; and a second, reusing run.

python bench/first_run.py            # makes its own environment in a temporary folder
python bench/first_run.py --check    # only that the demo of this environment does all it says, in little time
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
JOBS = ("counters", "news", "recommendations", "similarity", "weather")


def demo(clockmill: Path, home: Path) -> tuple[float, str]:
    environment = {**os.environ, "CLOCKMILL_HOME": str(home)}
    began = time.perf_counter()
    done = subprocess.run(
        [clockmill, "demo", "--once"], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    listed = subprocess.run(
        [clockmill, "runs", "list", "--json"], env=environment, cwd="/", capture_output=True, text=True, check=True
    )
    succeeded = {run["job"] for run in json.loads(listed.stdout)["runs"] if run["state"] == "succeeded"}
    if succeeded != set(JOBS):
        raise SystemExit(f"jobs that did not succeed: {sorted(set(JOBS) - succeeded)}")
    return seconds, done.stderr


def phases(told: str) -> list[str]:
    """The demo's own lines about its phases."""
    return [line for line in told.splitlines() if "seconds:" in line or line.startswith(("application: ", "redis: "))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.check:
            seconds, _ = demo(Path(sys.executable).with_name("clockmill"), Path(folder))
            print(f"demo: {seconds:.1f} s, all of {', '.join(JOBS)} succeeded")
            return
        began = time.perf_counter()
        venv.create(Path(folder) / "venv", with_pip=True)
        made = time.perf_counter()
        copy = shutil.copytree(CHECKOUT, Path(folder) / "src", ignore=shutil.ignore_patterns(".*", "build"))
        python = Path(folder) / "venv" / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", f"{copy}[all]"], check=True)
        installed = time.perf_counter()
        print(f"environment {made - began:.1f} s, installation {installed - made:.1f} s")
        for turn in ("first", "second"):
            seconds, told = demo(python.with_name("clockmill"), Path(folder) / "home")
            print(f"{turn} demo: {seconds:.1f} s")
            print("\n".join(f"    {line}" for line in phases(told)))


if __name__ == "__main__":
    main()
