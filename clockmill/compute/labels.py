"""Labels: the numbers 0, 1, 2 ... by falling degree, under which the kernels accumulate."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.ids import Codes


class Labels(NamedTuple):
    """`label[number]` and its inverse `order[label]`."""

    label: Codes
    order: Codes


def by_falling_degree(degrees: npt.NDArray[np.int64]) -> Labels:
    """The node of the highest degree has label 0; equal degrees keep their order."""
    order = np.argsort(-degrees, kind="stable").astype(np.uint32)
    label = np.empty(len(order), np.uint32)
    label[order] = np.arange(len(order), dtype=np.uint32)
    return Labels(label, order)
