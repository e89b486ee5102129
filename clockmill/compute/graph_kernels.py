"""The loop that makes a graph of its edges."""

import numpy as np
import numpy.typing as npt

from clockmill.compute.native import kernel


@kernel
def both_directions(
    low: npt.NDArray[np.uint32],
    high: npt.NDArray[np.uint32],
    next_place: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
) -> None:
    """Writes each edge's ends to each other's places; `next_place` is where each user's friends begin, and moves on.

    Edges ascend by (low, high), so a user's smaller friends come first and in order, then the larger ones.
    """
    for edge in range(low.size):
        place = next_place[high[edge]]
        indices[place] = low[edge]
        next_place[high[edge]] = place + 1
    for edge in range(low.size):
        place = next_place[low[edge]]
        indices[place] = high[edge]
        next_place[low[edge]] = place + 1
