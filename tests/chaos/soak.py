"""Fifty runs a second for a long time: memory, descriptors, threads and lateness do not grow."""

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from world import HERE, percentile, world

#: What is held after the first two minutes may grow by so much in an hour; a shorter soak cannot tell less than this.
SLOPE_MB_H = 1.0
NOISE_MB = 1.0
WARM_S = 120.0
#: The part of all slots that may be coalesced: what a pause of the machine makes late.
LATE = 0.01


def soaked(kind: str, seconds: float, rate: int = 50) -> dict[str, Any]:
    with world(kind, lease_s=30, jobs=HERE / "soaked", workers=8, environment={"SOAK": str(rate)}) as made:
        daemon = made.start()[0]
        samples = []
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            time.sleep(5)
            samples.append((time.monotonic() - began, _resident_mb(daemon.pid), _open_files(daemon.pid)))
        runs = made.rows("SELECT count(*) FROM runs WHERE state = 'succeeded'")[0][0]
        # Slots that came while the machine stood still are coalesced into the next one, and say so.
        late = made.rows("SELECT COALESCE(sum(slot_count), 0) FROM runs WHERE state IN ('coalesced', 'missed')")[0][0]
        told = "('succeeded', 'coalesced', 'missed')"
        bad = made.rows(f"SELECT count(*) FROM runs WHERE ended_us IS NOT NULL AND state NOT IN {told}")[0][0]
        waited = [us / 1e6 for (us,) in made.rows("SELECT started_us - slot_us FROM runs WHERE started_us IS NOT NULL")]
        made.leave()
    warm = np.array([sample for sample in samples if sample[0] >= min(WARM_S, seconds / 3)])
    slope = float(np.polyfit(warm[:, 0], warm[:, 1], 1)[0]) * 3600
    growth = slope * (warm[-1, 0] - warm[0, 0]) / 3600
    violations = [f"{bad} runs did not succeed"] if bad else []
    if late > LATE * rate * seconds:
        violations.append(f"{late} slots were not run in their second")
    if slope > SLOPE_MB_H and growth > NOISE_MB:
        violations.append(f"memory grows by {slope:.1f} MB an hour")
    if warm[-1, 2] > warm[0, 2] + 5:
        violations.append(f"descriptors grew from {warm[0, 2]:.0f} to {warm[-1, 2]:.0f}")
    return {
        "runs": runs,
        "coalesced": late,
        "per_second": round(runs / seconds, 1),
        "rss_mb": round(float(warm[-1, 1]), 1),
        "slope_mb_h": round(slope, 2),
        "descriptors": f"{warm[0, 2]:.0f}..{warm[:, 2].max():.0f}",
        "start_p50": round(percentile(waited, 0.5), 3),
        "start_p99": round(percentile(waited, 0.99), 3),
        "violations": violations,
    }


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
