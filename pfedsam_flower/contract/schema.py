"""The contract: which tensors travel, in which order, for which backbone, classes and input size.

Both sides derive it on their own and compare its hash with every message. Tensors travel as one flat
float32 array in contract order: one array per message costs one request, some hundred cost a minute.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ..errors import ContractError


@dataclass(frozen=True)
class Contract:
    """Ordered names and shapes of the shared parameters, and what they belong to.

    Attributes:
        tensors: (key, shape) in the order in which they are packed; every value is float32.
        backbone: digest of the frozen weights.
        classes: names of the output channels.
        image_size: side of the network's input, pixels.
        method: row of ``METHODS``.
    """

    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    backbone: str
    classes: tuple[str, ...]
    image_size: int
    method: str

    @property
    def n_values(self) -> int:
        """Length of the packed array."""
        return sum(prod(shape) for _, shape in self.tensors)

    def to_json(self) -> str:
        """Canonical text; its SHA-256 is the contract's hash."""
        return json.dumps(
            {
                "version": 1,
                "method": self.method,
                "backbone": self.backbone,
                "classes": self.classes,
                "image-size": self.image_size,
                "dtype": "float32",
                "tensors": self.tensors,
            },
            separators=(",", ":"),
        )

    @property
    def hash(self) -> str:
        """SHA-256 of ``to_json()``, hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def pack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """One float32 array [n_values] of all tensors in contract order.

        Raises:
            ContractError: PFS-402 when a tensor is missing, surplus, or of another shape or dtype.
        """
        keys = [key for key, _ in self.tensors]
        surplus = sorted(set(arrays) - set(keys))
        missing = [key for key in keys if key not in arrays]
        if surplus or missing:
            raise ContractError(
                "PFS-402",
                f"{len(missing)} tensors are missing and {len(surplus)} are not in the contract",
                where=", ".join((missing + surplus)[:3]),
                counts={"missing": len(missing), "surplus": len(surplus)},
            )
        for key, shape in self.tensors:
            found = arrays[key]
            if found.shape != shape or found.dtype != np.float32:
                raise ContractError(
                    "PFS-402", f"found {found.dtype} {found.shape}, agreed float32 {shape}", where=key
                )
        return np.concatenate([np.zeros(0, np.float32), *(np.ravel(arrays[key]) for key in keys)])

    def unpack(self, packed: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors of a packed array, as views of it.

        Raises:
            ContractError: PFS-402 unless ``packed`` is float32 [n_values].
        """
        if packed.dtype != np.float32 or packed.shape != (self.n_values,):
            raise ContractError(
                "PFS-402",
                f"packed: found {packed.dtype} {packed.shape}, agreed float32 ({self.n_values},)",
                hint="the sides differ in rank, classes, decoder mode or backbone",
            )
        arrays, start = {}, 0
        for key, shape in self.tensors:
            arrays[key] = packed[start : start + prod(shape)].reshape(shape)
            start += prod(shape)
        return arrays


def digest(packed: np.ndarray) -> str:
    """SHA-256 of an array's values, little-endian, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(packed.astype("<f4", copy=False)).tobytes()).hexdigest()
