"""What a start costs: a command that does nothing, and --help, beside the bare imports of what they are built on.

python bench/start.py            twenty starts of each, in turn; medians and ratios
python bench/start.py --check    each once, to see that it works
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS = 20
CLOCKMILL = [str(Path(sys.executable).with_name("clockmill"))]
#: What is measured, what it is compared with, and the goal for their ratio.
PAIRS = (
    ([*CLOCKMILL, "run", "nothing"], [sys.executable, "-c", "import click, sqlalchemy"], 1.25),
    ([*CLOCKMILL, "--help"], [sys.executable, "-c", "import click"], 1.5),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="each once")
    rounds = 1 if parser.parse_args().check else ROUNDS
    with tempfile.TemporaryDirectory() as home:
        Path(home, "clockmill.toml").write_text('[redis]\nurl = "none"\n[jobs.nothing]\ncommand = ["true"]\n')
        environment = {**os.environ, "CLOCKMILL_HOME": home}
        # Makes the database, and whatever Python keeps compiled.
        seconds([*CLOCKMILL, "run", "nothing"], environment)
        for ours, bare, goal in PAIRS:
            times = [(seconds(ours, environment), seconds(bare, environment)) for _ in range(rounds)]
            mine, theirs = (median(column) for column in zip(*times, strict=True))
            print(
                f"clockmill {' '.join(ours[1:])}: {mine * 1e3:.0f} ms, {bare[-1]}: {theirs * 1e3:.0f} ms, "
                f"ratio {mine / theirs:.2f} (goal {goal:g})"
            )


def seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
