"""Arguments are checked at the door: ValueError says which one, what was seen and what is allowed."""

from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")


def one_of(name: str, value: str, choices: Mapping[str, V]) -> V:
    """The choice that `value` names."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; seen: {value!r}")
    return choices[value]


def at_least(lowest: int, **values: int | None) -> None:
    """Raises ValueError for a value that is no whole number of at least `lowest`; None stands for the default."""
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < lowest):
            raise ValueError(f"{name} must be a whole number, {lowest} or more; seen: {value!r}")


def within(lowest: float, highest: float, **values: float) -> None:
    """Raises ValueError for a value that is no number from `lowest` to `highest`."""
    for name, value in values.items():
        right = isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest
        if not right:
            raise ValueError(f"{name} must be a number from {lowest:g} to {highest:g}; seen: {value!r}")
