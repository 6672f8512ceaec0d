"""Pure steps of a round whose results may be remembered: rows of a comparison share most of their work.

A site's round asks ``recall(key, make)`` for the result of a step. The key holds everything that the result
depends on. A hospital's site forgets: it does each step once anyway.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Arrays = dict[str, np.ndarray]


class Recall(Protocol):
    """Arrays by name of the step that ``key`` describes, made or remembered.

    Args:
        key: JSON-able; two steps with the same key have the same result, to the bit.
        make: does the step.
    """

    def __call__(self, key: Sequence[Any], make: Callable[[], Arrays]) -> Arrays: ...


def forgetful(key: Sequence[Any], make: Callable[[], Arrays]) -> Arrays:
    """Does the step."""
    return make()
