"""Sets of mask values that stay small and fast however many values they hold."""

from collections.abc import Iterable, Iterator, Set
from itertools import chain
from typing import Any

import numpy as np

FEW = 8
"""So many ranges are compared one after the other, which is faster than a search."""


class Values(Set[int]):
    """Whole numbers, kept as ranges; equal to any set of the same numbers.

    Attributes:
        ranges: first and last number of each range, both included; sorted, with gaps between them.
    """

    __slots__ = ("ranges",)
    ranges: tuple[tuple[int, int], ...]

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        joined: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = joined[-1][0], max(joined[-1][1], last)
            else:
                joined.append((first, last))
        self.ranges = tuple(joined)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "Values":
        """The set of these numbers."""
        return numbers if isinstance(numbers, cls) else cls((one, one) for one in numbers)

    @classmethod
    def union(cls, *sets: Iterable[int]) -> "Values":
        """The numbers of all sets."""
        return cls(chain.from_iterable(cls.of(one).ranges for one in sets))

    def common(self, other: "Values") -> "Values":
        """The numbers that are in both."""
        pairs = ((a, b) for a in self.ranges for b in other.ranges if a[0] <= b[1] and b[0] <= a[1])
        return Values((max(a[0], b[0]), min(a[1], b[1])) for a, b in pairs)

    def holds(self, array: np.ndarray) -> np.ndarray:
        """Which elements of an array of whole numbers are in the set: bool, the array's shape."""
        if len(self.ranges) <= FEW:
            found = np.zeros(array.shape, bool)
            for first, last in self.ranges:
                found |= array == first if first == last else (array >= first) & (array <= last)
            return found
        firsts, lasts = np.array(self.ranges).T
        place = np.searchsorted(firsts, array, side="right") - 1
        return np.asarray((place >= 0) & (array <= lasts[place]))

    def __contains__(self, one: object) -> bool:
        return isinstance(one, int | np.integer) and any(first <= one <= last for first, last in self.ranges)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(range(first, last + 1) for first, last in self.ranges)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __eq__(self, other: Any) -> bool:
        return self.ranges == other.ranges if isinstance(other, Values) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as equal sets would need the same one

    def __str__(self) -> str:
        """As the setting ``labels`` has it: ``1-5+9``."""
        return "+".join(f"{first}-{last}" if first < last else f"{first}" for first, last in self.ranges)

    def __repr__(self) -> str:
        return f"Values({self})"
