"""The dense core of a matrix: popular products of active users, multiplied without looking anything up.

Popular products (the first `size` labels) and active users make most of the wedges. Among them a user's row of
values, zeros and all, is added in vectors of the processor for a fraction of what its entries cost one by one. Sums
are whole numbers: the result is the same to the last bit, however the work is divided.

The sums are kept as tiles of TILE columns, of each only the rows from its first column on.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.blocks import Progress, run_blocks
from clockmill.compute.native import kernel

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]
Shorts = npt.NDArray[np.int16]

#: Columns and users that are worked on together: 640 kB of 16-bit values, which stay in a core's cache.
TILE = 512
USERS = 640
#: With larger values fewer users' sums fit 16 bits; below so many it would not pay.
LEAST_USERS = 16
#: Rows are added in whole vectors.
STEP = 32
#: What a place of a row costs, all told, beside a wedge that is looked up.
DENSE_COST = 0.05
#: Sums may take so many bytes for each rating, or SMALL bytes.
BYTES_PER_RATING = 24
SMALL = 16_000_000


class Core(NamedTuple):
    """The products of labels below `size` against each other, summed up over the core's users.

    Row i of tile t begins at begins[t] + (i - t * TILE) * TILE in `sums`, which holds rows first to last - 1 alone.
    """

    size: int
    first: int
    last: int
    sums: npt.NDArray[np.int32]
    begins: Ints
    #: The entries of core users, product by product, the most active users (number 0) first.
    indptr: Ints
    users: Numbers
    values: Shorts
    #: A bit for each product and each user.
    bits: npt.NDArray[np.uint64]
    #: The entries of the other users: where each is, and where its user begins.
    other_ptr: Ints
    other_places: Numbers
    other_begins: Numbers


def no_core() -> Core:
    """A core that holds nothing."""
    ints, numbers = np.zeros(1, np.int64), np.empty(0, np.uint32)
    sums, values, bits = np.empty(0, np.int32), np.empty(0, np.int16), np.empty((0, 1), np.uint64)
    return Core(0, 0, 0, sums, ints, ints, numbers, values, bits, ints, numbers, numbers)


@kernel
def core_row(core: Core, i: int, sums: Ints) -> None:
    """Row i of the core's sums, columns below i, into `sums`."""
    for tile in range(core.begins.size - 1):
        low = tile * TILE
        if low >= i:
            break
        begin = core.begins[tile] + (i - low) * TILE
        for c in range(min(TILE, i - low)):
            sums[low + c] = core.sums[begin + c]


@kernel
def core_support(core: Core, i: int, c: Any) -> Any:
    """The number of core users of product i who have product c."""
    begin, end = core.indptr[i], core.indptr[i + 1]
    total = np.int64(0)
    if end - begin < core.bits.shape[1]:
        for at in range(begin, end):
            user = core.users[at]
            total += np.int64(core.bits[c, user >> 6] >> np.uint64(user & 63) & np.uint64(1))
        return total
    for word in range(core.bits.shape[1]):
        x = core.bits[i, word] & core.bits[c, word]
        # The bits set in pairs, in fours, in bytes, and these added up.
        x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
        x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
        x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        total += np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
    return total


@kernel
def _choose_users(matrix: Any, size: int, chosen: npt.NDArray[np.bool_], counts: Ints, others: Ints) -> None:
    """Marks the users whose rows are cheaper than their entries.

    `counts` and `others` become the number of entries of each product in the core, and of other users.
    """
    for user in range(chosen.size):
        begin, end = matrix.user_ptr[user], matrix.user_ptr[user + 1]
        held = 0
        places = 0
        while begin + held < end and matrix.labels[begin + held] < size:
            places += matrix.labels[begin + held]
            held += 1
        chosen[user] = held * held / 2.0 > DENSE_COST * (places + size)
        tally = counts if chosen[user] else others
        for at in range(begin, begin + held):
            tally[matrix.labels[at]] += 1


@kernel
def _fill_rows(matrix: Any, core: Core, members: Numbers, chosen: npt.NDArray[np.bool_]) -> None:
    """Gathers the core's entries and those beside it, and leaves in matrix.wedges those that are still to be added."""
    matrix.wedges[: core.size] = 0
    cursors = core.indptr[:-1].copy()
    for number in range(members.size):
        user = members[number]
        for at in range(matrix.user_ptr[user], matrix.user_ptr[user + 1]):
            label = matrix.labels[at]
            if label >= core.size:
                break
            place = cursors[label]
            cursors[label] = place + 1
            core.users[place] = number
            core.values[place] = matrix.values[at]
            core.bits[label, number >> 6] |= np.uint64(1) << np.uint64(number & 63)
    cursors = core.other_ptr[:-1].copy()
    for user in range(chosen.size):
        begin = matrix.user_ptr[user]
        for at in range(begin, begin if chosen[user] else matrix.user_ptr[user + 1]):
            label = matrix.labels[at]
            if label >= core.size:
                break
            matrix.wedges[label] += at - begin
            place = cursors[label]
            cursors[label] = place + 1
            core.other_places[place] = at
            core.other_begins[place] = begin


@kernel
def _fill_tile(matrix: Any, members: Numbers, first: int, last: int, low: int, high: int, tile: Any) -> None:
    """The values of members first to last - 1 in columns low to high - 1, zeros and all."""
    tile[:] = 0
    for row in range(last - first):
        user = members[first + row]
        at, stop = matrix.user_ptr[user], matrix.user_ptr[user + 1]
        at += np.searchsorted(matrix.labels[at:stop], low)
        while at < stop and matrix.labels[at] < high:
            tile[row, matrix.labels[at] - low] = matrix.values[at]
            at += 1


@kernel
def _add_rows(
    users: Numbers, values: Shorts, first: int, tile: Any, total: Shorts, mask: int, out: npt.NDArray[np.int32]
) -> None:
    """Adds the tile's rows of these users, each times its value, to `out`."""
    if users.size < 3:
        for at in range(users.size):
            a, va = tile[users[at] - first], values[at]
            for column in range(out.size):
                out[column] += va * a[column]
        return
    total[:] = 0
    at = 0
    while at + 4 <= users.size:
        a, b = tile[users[at] - first], tile[users[at + 1] - first]
        c, d = tile[users[at + 2] - first], tile[users[at + 3] - first]
        va, vb, vc, vd = values[at], values[at + 1], values[at + 2], values[at + 3]
        for column in range(total.size):
            total[column] += va * a[column] + vb * b[column] + vc * c[column] + vd * d[column]
        at += 4
    while at < users.size:
        a, va = tile[users[at] - first], values[at]
        for column in range(total.size):
            total[column] += va * a[column]
        at += 1
    for column in range(total.size):
        out[column] += total[column] & mask


@kernel
def _multiply(matrix: Any, core: Core, members: Numbers, together: int, mask: int, number: int) -> None:
    """Fills tile `number` of the core's sums; `together` users at most are added up in 16 bits."""
    low = number * TILE
    high = min(low + TILE, core.size)
    begin_row = max(low, core.first)
    cursors = core.indptr[begin_row : core.last].copy()
    tile = np.empty((together, TILE), np.int16)
    total = np.empty(TILE, np.int16)
    for first in range(0, members.size, together):
        last = min(first + together, members.size)
        _fill_tile(matrix, members, first, last, low, high, tile)
        for i in range(begin_row, core.last):
            start = cursors[i - begin_row]
            stop, end = start, core.indptr[i + 1]
            while stop < end and core.users[stop] < last:
                stop += 1
            if stop == start:
                continue
            cursors[i - begin_row] = stop
            begin = core.begins[number] + (i - low) * TILE
            # Columns from i on are those of higher labels: they are another row's.
            width = min(TILE, (min(i, high) - low + STEP - 1) // STEP * STEP)
            out = core.sums[begin : begin + width]
            _add_rows(core.users[start:stop], core.values[start:stop], first, tile, total[:width], mask, out)


def dense_core(
    matrix: Any,
    lowest: int,
    highest: int,
    threads: int,
    progress: Progress | None,
    rows: tuple[int, int] | None = None,
) -> Core:
    """The core of a PairMatrix of whole values from `lowest` to `highest`; takes its wedges out of matrix.wedges.

    Empty where it would not pay. `rows` = (first, last): only sums of rows first to last - 1 are wanted.
    """
    largest = max(-lowest, highest, 1)
    # Sums of 16 bits without a sign are read through a mask.
    together, mask = _together(lowest, highest), 2**16 - 1 if lowest >= 0 else -1
    size = _size(matrix) if together >= LEAST_USERS else 0
    if size == 0:
        return no_core()
    chosen = np.zeros(len(matrix.user_ptr) - 1, np.bool_)
    counts, others = np.zeros(size, np.int64), np.zeros(size, np.int64)
    _choose_users(matrix, size, chosen, counts, others)
    # The most active first: entries of a rare product then stand close together.
    active_first = np.argsort(-np.diff(matrix.user_ptr)[chosen], kind="stable")
    members: Numbers = np.flatnonzero(chosen)[active_first].astype(np.uint32)
    if len(members) == 0 or largest**2 * len(members) > np.iinfo(np.int32).max:
        return no_core()
    core = _allocated(size, counts, others, len(members), rows or (0, size))
    _fill_rows(matrix, core, members, chosen)

    def work(first: int, last: int) -> None:
        for number in range(first, last):
            _multiply(matrix, core, members, together, mask, number)

    run_blocks(work, [(number, number + 1) for number in range(len(core.begins) - 1)], threads, progress)
    return core


def costs_by_row(matrix: Any, lowest: int, highest: int) -> npt.NDArray[np.int64]:
    """What a row costs, in wedges, when `dense_core` has taken its part; matrix.wedges stays as it is."""
    wedges: Ints = matrix.wedges
    size = _size(matrix) if _together(lowest, highest) >= LEAST_USERS else 0
    if size == 0:
        return wedges
    chosen = np.zeros(len(matrix.user_ptr) - 1, np.bool_)
    counts, others = np.zeros(size, np.int64), np.zeros(size, np.int64)
    _choose_users(matrix, size, chosen, counts, others)
    looked_up = wedges[:size] * (others / np.maximum(counts + others, 1))
    added = DENSE_COST * np.arange(size) * counts
    return np.concatenate([(looked_up + added).astype(np.int64), wedges[size:]])


def _together(lowest: int, highest: int) -> int:
    """So many users' products of values from `lowest` to `highest` can be added up in 16 bits."""
    largest = max(-lowest, highest, 1)
    return min(USERS, (2**16 - 1 if lowest >= 0 else 2**15 - 1) // largest**2)


def _allocated(size: int, counts: Ints, others: Ints, users: int, rows: tuple[int, int]) -> Core:
    first, last = min(rows[0], size), min(rows[1], size)
    # Tiles that begin behind the last row have none of the rows.
    tiles = -(-last // TILE) if first < last else 0
    starts = np.maximum(np.arange(tiles) * TILE, first)
    ends = np.cumsum((last - starts) * TILE)
    begins, indptr, other_ptr = (np.zeros(length + 1, np.int64) for length in (tiles, size, size))
    # As if all rows of each tile were there: those before the first are not asked for.
    begins[:-1] = ends - (last - starts) * TILE - (starts - np.arange(tiles) * TILE) * TILE
    np.cumsum(counts, out=indptr[1:])
    np.cumsum(others, out=other_ptr[1:])
    return Core(
        size,
        first,
        last,
        np.zeros(ends[-1] if tiles else 0, np.int32),
        begins,
        indptr,
        np.empty(indptr[-1], np.uint32),
        np.empty(indptr[-1], np.int16),
        np.zeros((size, -(-users // 64)), np.uint64),
        other_ptr,
        np.empty(other_ptr[-1], np.uint32),
        np.empty(other_ptr[-1], np.uint32),
    )


def _size(matrix: Any) -> int:
    """The number of products up to which rows are cheaper than looking up, on the whole, within the memory allowed."""
    degrees = np.diff(matrix.indptr)[matrix.order]
    gain = np.cumsum(matrix.wedges - DENSE_COST * np.arange(len(degrees)) * (degrees + LEAST_USERS))
    best = int(np.argmax(gain)) + 1 if len(gain) and gain.max() > 0 else 0
    # A triangle of 32-bit sums.
    return min(best, int(np.sqrt(max(BYTES_PER_RATING * len(matrix.own), SMALL) / 2)))
