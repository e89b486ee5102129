"""JSON from strangers."""

import json
import math
from typing import Any, NoReturn


def loads(document: bytes | str) -> Any:
    """The value of a JSON document; ValueError for anything that is not strict JSON with finite numbers."""
    try:
        return json.loads(document, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is too large")
    return number
