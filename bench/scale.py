"""Time and memory against size, over three decades of people and of ratings, and the picture docs/scale.svg.

    python bench/scale.py                 prints, and draws docs/scale.svg
    python bench/scale.py --check         the two smallest sizes, and that each list equals the plain product's

One thread, seconds of the processor, each size in a process of its own: memory is the most that the computation held
beyond its input, as a multiple of the input's compressed rows (12 bytes a rating, 4 an edge).
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"people": (1_000, 10_000, 100_000, 1_000_000), "ratings": (20_000, 200_000, 2_000_000, 20_000_000)}
#: Shapes of about equal density in a row, so that a wedge means the same: users and products by number of ratings.
SHAPE = {20_000: (4_380, 846), 200_000: (13_850, 2_674), 2_000_000: (43_796, 8_457), 20_000_000: (138_493, 26_744)}
EDGES_EACH = 20
PICTURE = Path(__file__).parents[1] / "docs" / "scale.svg"


def people(size: int, compare: bool) -> dict[str, Any]:
    from recommendations import agrees_with_product, ours
    from recommendations import people as friendships

    from clockmill import compute
    from clockmill.compute.recommendations import score_by, wedges

    compute.compile_kernels(of=["people"])
    graph = compute.friendship_graph(*friendships(size, EDGES_EACH * size))
    if compare:
        scored = score_by(graph, "adamic_adar")
        agrees_with_product(scored, ours(scored))
    return measured(lambda: compute.recommend(graph, threads=1), int(wedges(graph).sum()), 4 * len(graph.indices))


def ratings(size: int, compare: bool) -> dict[str, Any]:
    from similarity import as_lists, feedback, scipy_product, unit_rows, without_self

    from clockmill import compute

    compute.compile_kernels(of=["products"])
    given = feedback(*SHAPE[size], size)
    if compare:
        lists = as_lists(given, compute.similar_products(given, min_support=1))
        np.testing.assert_allclose(without_self(scipy_product(unit_rows(given))), lists, rtol=1e-4, atol=1e-6)
    held = np.bincount(given.users).astype(np.int64)
    pairs = int((held * (held - 1)).sum()) // 2
    return measured(lambda: compute.similar_products(given, threads=1), pairs, 12 * len(given.users))


def measured(work: Any, wedges: int, input_bytes: int) -> dict[str, Any]:
    def most() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    before, began = most(), time.process_time()
    work()
    seconds = time.process_time() - began
    return {"seconds": seconds, "wedges": wedges, "memory": (most() - before) / input_bytes}


def apart(what: str, size: int, compare: bool) -> dict[str, Any]:
    """The measure of one size, in a process of its own."""
    words = [sys.executable, __file__, "--one", what, str(size), *(["--check"] if compare else [])]
    found: dict[str, Any] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def label(x: float, y: float, words: str, anchor: str = "middle", colour: str = "#333") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def decades(values: list[float]) -> range:
    """The powers of ten around all values."""
    return range(int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values)))) + 1)


def draw(rows: dict[str, list[tuple[int, dict[str, Any]]]]) -> str:
    """Seconds against wedges, both by decades."""
    points = {what: [(one["wedges"], one["seconds"]) for _, one in found] for what, found in rows.items()}
    across = decades([x for line in points.values() for x, _ in line])
    up = decades([y for line in points.values() for _, y in line])

    def place(x: float, y: float) -> tuple[float, float]:
        right, high = (np.log10(x) - across[0]) / (len(across) - 1), (np.log10(y) - up[0]) / (len(up) - 1)
        return 70 + 500 * right, 310 - 280 * high

    size = 'width="640" height="360"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
    parts.append(f'<rect {size} fill="white"/>')
    for decade in across:
        x, _ = place(10.0**decade, 10.0 ** up[0])
        parts += [f'<path d="M{x:.0f} 30V310" stroke="#ddd"/>', label(x, 328, f"1e{decade}")]
    for decade in up:
        _, y = place(10.0 ** across[0], 10.0**decade)
        parts += [f'<path d="M70 {y:.0f}H570" stroke="#ddd"/>', label(64, y + 4, f"{10.0**decade:g} s", "end")]
    for (what, line), colour in zip(points.items(), ("#1f6fb4", "#c2541b"), strict=True):
        places = [place(*point) for point in line]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places]
        parts.append(label(places[-1][0] - 8, places[-1][1] - 8, what, "end", colour))
    parts.append(label(320, 350, "wedges: common friends, or users, of all pairs") + "</svg>")
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="the two smallest sizes, compared, and no picture")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "SIZE"), help=argparse.SUPPRESS)
    parser.add_argument("--largest", type=int, default=20_000_000, help="leave out what is larger")
    asked = parser.parse_args()
    if asked.one:
        what, size = asked.one
        print(json.dumps({"people": people, "ratings": ratings}[what](int(size), asked.check)))
        return
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for what, sizes in SIZES.items():
        for size in sizes[:2] if asked.check else [size for size in sizes if size <= asked.largest]:
            found = apart(what, size, asked.check)
            rows.setdefault(what, []).append((size, found))
            each = found["seconds"] / max(found["wedges"], 1) * 1e9
            if not asked.check:
                print(
                    f"{size:>11,} {what:<8}{found['wedges'] / 1e6:>10.1f} M wedges{found['seconds']:>9.3f} s"
                    f"{each:>8.2f} ns a wedge{found['memory']:>7.1f} x its input",
                    flush=True,
                )
    if not asked.check:
        PICTURE.write_text(draw(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
