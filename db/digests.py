"""A digest of every list of an output: lists whose digest did not change need not be read back to be compared.

A row's digest runs through its columns, a list's is the sum of those of its rows (a row tells its own place). 64 bits
by the mixing of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): of a million lists that changed, one passes for
unchanged once in 10**13 times. The columns of `stamp` are left out, for they do not make a change.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from db.columns import Columns
from db.output_spec import OutputSpec

U = np.uint64
Digests = NDArray[np.uint64]

#: Rows worked through at once: they stay in the processor's cache.
CHUNK_ROWS = 50_000
SEED = U(0x9E3779B97F4A7C15)
WORD = 8
#: Whole numbers are looked up in a table while their range is at most this many times their number; else searched for.
DENSE = 8


class Lists(NamedTuple):
    """The keys of an output's lists, ascending, and the digest of each."""

    keys: NDArray[Any]
    values: Digests


def digest_lists(spec: OutputSpec, columns: Columns) -> Lists:
    """The digests of the lists of some rows, which lie in the order of their row key."""
    keys = columns[spec.key]
    if not len(keys):
        return Lists(keys, np.empty(0, U))
    starts = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])
    used = [columns[name] for name in (*spec.row_key, *spec.compared)]
    return Lists(keys[starts], np.add.reduceat(digest_rows(used), starts))


def digest_rows(columns: Sequence[NDArray[Any]]) -> Digests:
    """One number a row, by the values of all columns in their order: whole numbers, float64, or texts and None."""
    rows = len(columns[0])
    digests = np.empty(rows, U)
    for at in range(0, rows, CHUNK_ROWS):
        cut = slice(at, at + CHUNK_ROWS)
        mixed = np.full(len(digests[cut]), SEED)
        for values in columns:
            mixed = _mixed(mixed ^ _bits(values[cut]))
        digests[cut] = mixed
    return digests


def differing(old: Lists, new: Lists) -> tuple[NDArray[Any], NDArray[Any]]:
    """The keys of the lists that are new or changed, and of those that are gone."""
    place = places(old.keys, new.keys)
    known = place >= 0
    same = known.copy()
    same[known] = old.values[place[known]] == new.values[known]
    gone = np.ones(len(old.keys), np.bool_)
    gone[place[known]] = False
    return new.keys[~same], old.keys[gone]


def chosen(lists: Lists, only: Sequence[Any]) -> Lists:
    """The digests of these keys alone."""
    place = places(lists.keys, np.array(only, dtype=lists.keys.dtype))
    some = np.unique(place[place >= 0])
    return Lists(lists.keys[some], lists.values[some])


def merged(old: Lists, new: Lists, only: Sequence[Any]) -> Lists:
    """The digests after the lists of `only` gave way to the new ones."""
    stay = np.ones(len(old.keys), np.bool_)
    place = places(old.keys, np.array(only, dtype=old.keys.dtype))
    stay[place[place >= 0]] = False
    if not len(new.keys):
        return Lists(old.keys[stay], old.values[stay])
    keys = np.concatenate([old.keys[stay], new.keys])
    values = np.concatenate([old.values[stay], new.values])
    order = np.argsort(keys, kind="stable")
    return Lists(keys[order], values[order])


def unsettled(lists: Lists, keys: Sequence[Any]) -> Lists:
    """The same, these lists with a digest that stands for none: they differ from whatever comes."""
    if not keys:
        return lists
    some = np.array(sorted(set(keys)), dtype=lists.keys.dtype)
    return merged(lists, Lists(some, np.zeros(len(some), U)), keys)


def places(keys: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Where each wanted key stands among `keys`, which ascend; -1 for one that is not there."""
    if not len(keys) or not len(wanted):
        return np.full(len(wanted), -1, np.int64)
    if keys.dtype == object or wanted.dtype == object:
        place = {key: at for at, key in enumerate(keys.tolist())}
        return np.fromiter((place.get(key, -1) for key in wanted.tolist()), np.int64, len(wanted))
    low, high = int(keys[0]), int(keys[-1])
    if high - low < DENSE * (len(keys) + len(wanted)):
        table = np.full(high - low + 1, -1, np.int64)
        table[keys - low] = np.arange(len(keys))
        inside = (wanted >= low) & (wanted <= high)
        return np.where(inside, table[np.where(inside, wanted, low) - low], -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def _mixed(x: Digests) -> Digests:
    """Every bit of the result hangs on every bit of `x`; two numbers never become one."""
    x += SEED
    x ^= x >> U(30)
    x *= U(0xBF58476D1CE4E5B9)
    x ^= x >> U(27)
    x *= U(0x94D049BB133111EB)
    x ^= x >> U(31)
    return x


def _bits(values: NDArray[Any]) -> Digests:
    if values.dtype.kind == "f":
        # Whatever its bits, a number that is none is NULL.
        numbers = np.where(np.isnan(values), np.nan, values).astype(np.float64)
        return numbers.view(U)
    if values.dtype.kind in "iub":
        return values.astype(np.int64).view(U) if values.dtype.kind != "u" else values.astype(U)
    return _digest_texts(values.tolist())


def _digest_texts(texts: list[Any]) -> Digests:
    lengths, content = _joined(texts)
    sizes = np.maximum(lengths, 0)
    starts = np.cumsum(sizes) - sizes
    mixed = _mixed(lengths.view(U).copy())
    words: NDArray[np.uint64] = np.ndarray((len(content) - WORD + 1,), "<u8", content, strides=(1,))
    for some, at, room in _words(sizes, starts):
        word = words[at]
        word[room < WORD] &= (U(1) << (U(8) * room[room < WORD].astype(U))) - U(1)
        mixed[some] = _mixed(mixed[some] ^ word)
    return mixed


def _joined(texts: list[Any]) -> tuple[NDArray[np.int64], bytes]:
    """The length of each text in bytes, -1 for None, and all of them one after another."""
    plain = ["" if text is None else text if isinstance(text, str) else str(text) for text in texts]
    joined = "".join(plain)
    content = joined.encode("utf-8", "surrogatepass")
    if len(content) != len(joined):
        plain = [text.encode("utf-8", "surrogatepass") for text in plain]  # type: ignore[misc]
    lengths = np.fromiter(map(len, plain), np.int64, len(plain))
    if None in texts:
        lengths[[text is None for text in texts]] = -1
    return lengths, content + bytes(WORD)


def _words(sizes: NDArray[np.int64], starts: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], Any, Any]]:
    """Word by word: which texts have one there, where it begins, and how many bytes are left from there on."""
    done, some = 0, np.flatnonzero(sizes > 0)
    while len(some):
        yield some, starts[some] + done, sizes[some] - done
        done += WORD
        some = some[sizes[some] > done]
