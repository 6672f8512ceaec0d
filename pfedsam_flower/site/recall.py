"""Pure steps of a round whose results may be remembered: rows of a comparison share most of their work.

A site's round asks ``recall(key, make)`` for the result of a step. The key holds everything that the result
depends on. A hospital's site forgets: it does each step once anyway.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:  # the first answer to a coordinator is given without torch
    from torch import Tensor

    from ..data.cases import Sample

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


def samples_digest(samples: "Iterable[Sample]") -> str:
    """SHA-256 of all that a site trains on."""
    found = hashlib.sha256()
    for sample in samples:
        for array in (sample.image, sample.target, sample.annotated, np.array(sample.valid)):
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def tensors_digest(tensors: "Mapping[str, Tensor]") -> str:
    """SHA-256 of names and values."""
    found = hashlib.sha256()
    for key in sorted(tensors):
        found.update(key.encode())
        found.update(tensors[key].contiguous().numpy().tobytes())
    return found.hexdigest()
