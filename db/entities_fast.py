"""Columns to JSON values by compiled code, byte for byte what the plain way in db.entities writes.

Places in bytes are unsigned throughout: numba takes a signed index for one that may count from the end.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled at the first call and kept on disk, where a folder can be written; runs without the interpreter lock."""
    try:
        return cast(Callable[P, R], numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(Callable[P, R], numba.njit(nogil=True)(function))


U = np.uint64
Places = NDArray[np.uint64]
Column = NDArray[np.int64] | NDArray[np.float64] | list[str]

#: Kinds of a column's cells: 64-bit integers, doubles, texts that are JSON already.
INT, FLOAT, TEXT = 0, 1, 2
#: The longest integer has 20 bytes, the longest double 24, as -2.2250738585072014e-308.
NUMBER_BYTES = 24
#: Bytes are copied so many at a time, over the end of a text, for what follows is written there anyhow.
WORD = 8
#: The decimal exponents that doubles need.
FIRST_POWER, LAST_POWER = -292, 324
ZERO, ONE, TWO, TEN, HUNDRED = U(0), U(1), U(2), U(10), U(100)
SIGN, INFINITE = U(1 << 63), U(0x7FF << 52)
MINUS, PLUS, POINT, EXPONENT, DIGIT, COMMA, BRACKET, BRACE = map(U, b"-+.e0,]}")


def weave(
    head: str, literals: list[str], columns: list[Column], key_ends: NDArray[np.int64]
) -> tuple[list[int], memoryview]:
    """The values of whole keys, one after another, and where each ends.

    Before each cell of a row stands its literal, after the last cell the last literal.

    `key_ends` says after which row each key ends. Numbers are written as str() and repr() do, doubles that are not
    finite as null.
    """
    rows, keys = int(key_ends[-1]), len(key_ends)
    texts = [column for column in columns if isinstance(column, list)]
    source, text_ends = _joined(chain([head], literals, *texts))
    frame = 1 + len(literals)
    framing, cell_ends = text_ends[:frame], iter(text_ends[frame:].reshape(len(texts), rows))
    cells = np.stack([next(cell_ends) if isinstance(column, list) else column.view(U) for column in columns])
    kinds = np.array([_kind(column) for column in columns], np.int8)
    room = rows * (int(framing[-1]) + len(columns) * NUMBER_BYTES) + keys * (len(head) * 4 + 2) + len(source)
    out, ends = np.empty(room, np.uint8), np.empty(keys, np.int64)
    _weave(source, framing, kinds, cells, key_ends.astype(U), POWERS, out, ends)
    return ends.tolist(), out.data[: ends[-1]]


def _kind(column: Column) -> int:
    if isinstance(column, list):
        return TEXT
    return FLOAT if column.dtype == np.float64 else INT


def _joined(texts: Iterable[str]) -> tuple[NDArray[np.uint8], Places]:
    """The texts one after another, a NUL after each (which JSON never has), and where each ends."""
    source = np.frombuffer("\0".join(chain(texts, [""])).encode() + bytes(WORD), np.uint8)
    return source, np.flatnonzero(source[:-WORD] == 0).astype(U)


def _powers() -> NDArray[np.uint64]:
    """128 bits of every power of ten, rounded up: rows of (high, low) from 10**FIRST_POWER on."""
    rows = []
    for power in range(FIRST_POWER, LAST_POWER + 1):
        shift = 127 - (power * 1741647 >> 19)
        above, below = 10 ** max(power, 0) << max(shift, 0), 10 ** max(-power, 0) << max(-shift, 0)
        bits = -(-above // below)
        rows.append((bits >> 64, bits & (2**64 - 1)))
    return np.array(rows, np.uint64)


POWERS = _powers()


@kernel
def _weave(source, framing, kinds, cells, key_ends, powers, out, ends):  # type: ignore[no-untyped-def]
    columns, last = len(kinds), len(framing) - 1
    at, first = ZERO, ZERO
    text_from = _first_texts(framing[last], kinds, cells)
    for key in range(len(key_ends)):
        at = _copy(source, ZERO, framing[0], out, at)
        for row in range(first, key_ends[key]):
            for column in range(columns):
                at = _copy(source, framing[column] + ONE, framing[column + 1], out, at)
                cell = cells[column, row]
                if kinds[column] == INT:
                    at = _int(cell, out, at)
                elif kinds[column] == FLOAT:
                    at = _float(cell, powers, out, at)
                else:
                    at = _copy(source, text_from[column], cell, out, at)
                    text_from[column] = cell + ONE
            at = _copy(source, framing[columns] + ONE, framing[last], out, at)
            out[at] = COMMA
            at += ONE
        first = key_ends[key]
        out[at - ONE], out[at] = BRACKET, BRACE
        at += ONE
        ends[key] = at


@kernel
def _first_texts(before, kinds, cells):  # type: ignore[no-untyped-def]
    """Where the first text of each text column starts: one column's texts follow another's."""
    starts = np.zeros(len(kinds), np.uint64)
    for column in range(len(kinds)):
        if kinds[column] == TEXT:
            starts[column] = before + ONE
            before = cells[column, -1]
    return starts


@kernel
def _copy(source, first, end, out, at):  # type: ignore[no-untyped-def]
    # All of a word is read before any is written: the compiler then makes one read and one write of it.
    for place in range(ZERO, end - first, U(WORD)):
        word = ZERO
        for byte in range(WORD):
            word |= U(source[first + place + U(byte)]) << U(8 * byte)
        for byte in range(WORD):
            out[at + place + U(byte)] = np.uint8(word >> U(8 * byte))
    return at + (end - first)


@kernel
def _int(bits, out, at):  # type: ignore[no-untyped-def]
    if bits & SIGN:
        out[at] = MINUS
        at += ONE
        bits = ZERO - bits
    return _digits(bits, _count(bits), out, at)


@kernel
def _count(value):  # type: ignore[no-untyped-def]
    count, limit = (U(16), U(10**16)) if value >= U(10**15) else (ONE, TEN)
    while value >= limit and count < U(19):
        limit *= TEN
        count += ONE
    return count + ONE if value >= limit else count


@kernel
def _digits(value, count, out, at):  # type: ignore[no-untyped-def]
    place = at + count
    while place >= at + TWO:
        place -= TWO
        rest, value = value % HUNDRED, value // HUNDRED
        out[place], out[place + ONE] = DIGIT + rest // TEN, DIGIT + rest % TEN
    if place > at:
        out[at] = DIGIT + value
    return at + count


@kernel
def _float(bits, powers, out, at):  # type: ignore[no-untyped-def]
    """As float.__repr__: without exponent from 1e-4 to below 1e16."""
    if bits & INFINITE == INFINITE:
        out[at], out[at + ONE], out[at + TWO], out[at + U(3)] = 110, 117, 108, 108
        return at + U(4)
    if bits & SIGN:
        out[at] = MINUS
        at += ONE
    digits, exponent = ZERO, 0
    if bits & ~SIGN:
        digits, exponent = _shortest(bits & ~SIGN, powers)
        while digits % TEN == ZERO:
            digits //= TEN
            exponent += 1
    count = _count(digits)
    point = np.int64(count) + exponent  # 0.ddd times ten to this
    if -4 < point <= 16:
        return _fixed(digits, count, point, out, at)
    end = _digits(digits, count, out, at + ONE)
    out[at], out[at + ONE] = out[at + ONE], POINT
    return _power(point - 1, out, end if count > ONE else at + ONE)


@kernel
def _fixed(digits, count, point, out, at):  # type: ignore[no-untyped-def]
    if point <= 0:
        zeros = TWO + U(-point)
        for place in range(ZERO, zeros):
            out[at + place] = DIGIT
        out[at + ONE] = POINT
        return _digits(digits, count, out, at + zeros)
    whole = U(point)
    if whole >= count:
        end = _digits(digits, count, out, at)
        for place in range(end, at + whole):
            out[place] = DIGIT
        out[at + whole], out[at + whole + ONE] = POINT, DIGIT
        return at + whole + TWO
    end = _digits(digits, count, out, at + ONE)
    for place in range(at, at + whole):
        out[place] = out[place + ONE]
    out[at + whole] = POINT
    return end


@kernel
def _power(exponent, out, at):  # type: ignore[no-untyped-def]
    out[at], out[at + ONE] = EXPONENT, PLUS if exponent > 0 else MINUS
    size = U(abs(exponent))
    return _digits(size, U(3) if size >= HUNDRED else TWO, out, at + TWO)


@kernel
def _shortest(bits, powers):  # type: ignore[no-untyped-def]
    """Digits and decimal exponent of the shortest decimal that rounds to a positive double.

    R. Giulietti, "The Schubfach way to render doubles" (2020), in the names of the paper.
    """
    fraction, biased = bits & U(0xFFFFFFFFFFFFF), np.int64(bits >> U(52))
    c, q = fraction, np.int64(-1074)
    if biased:
        c, q = fraction | U(0x10000000000000), biased - 1075
    narrow = U(1) if fraction == U(0) and biased > 1 else U(0)
    k = (q * 1262611 - (524031 if narrow else 0)) >> 22
    h = U(q + ((-k * 1741647) >> 19) + 1)
    high, low = powers[-k - FIRST_POWER, 0], powers[-k - FIRST_POWER, 1]
    odd = c & U(1)  # the bounds themselves round to an even c only
    lower = _rounded_to_odd(high, low, (U(4) * c - U(2) + narrow) << h) + odd
    middle = _rounded_to_odd(high, low, (U(4) * c) << h)
    upper = _rounded_to_odd(high, low, (U(4) * c + U(2)) << h) - odd
    s = middle >> U(2)
    if s >= U(10):
        tens = s // U(10)
        below, above = lower <= U(40) * tens, U(40) * tens + U(40) <= upper
        if below != above:
            return tens + U(above), k + 1
    below, above = lower <= U(4) * s, U(4) * s + U(4) <= upper
    if below != above:
        return s + U(above), k
    half = U(4) * s + U(2)
    return s + U(middle > half or (middle == half and s & U(1) != U(0))), k


@kernel
def _rounded_to_odd(high, low, factor):  # type: ignore[no-untyped-def]
    carried = _high_half(low, factor)
    below = high * factor + carried
    above = _high_half(high, factor) + U(below < carried)
    return above | U(below > U(1))


@kernel
def _high_half(a, b):  # type: ignore[no-untyped-def]
    """The upper 64 of the 128 bits of a product."""
    mask = U(0xFFFFFFFF)
    a0, a1, b0, b1 = a & mask, a >> U(32), b & mask, b >> U(32)
    middle = a1 * b0 + ((a0 * b0) >> U(32))
    return a1 * b1 + (middle >> U(32)) + ((a0 * b1 + (middle & mask)) >> U(32))
