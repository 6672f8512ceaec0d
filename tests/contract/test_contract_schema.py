"""The contract: packing loses nothing, refuses everything else, and any difference changes the hash."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.contract.schema import Contract, digest
from pfedsam_flower.errors import ContractError

shapes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), max_size=6)

CONTRACT = Contract(
    tensors=(("decoder.bias", (2,)), ("encoder.lora_a", (2, 3)), ("scale", ())),
    backbone="ab" * 32,
    classes=("organ", "lesion"),
    image_size=224,
    method="pfedsam",
)


def arrays_of(contract: Contract, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: np.asarray(rng.standard_normal(shape), dtype=np.float32) for key, shape in contract.tensors}


@given(shapes.filter(bool), st.integers(0, 99))
def test_unpack_of_pack_is_identity(some: list[tuple[int, ...]], seed: int) -> None:
    contract = replace(CONTRACT, tensors=tuple((f"t{i}", shape) for i, shape in enumerate(some)))
    arrays = arrays_of(contract, seed)
    packed = contract.pack(arrays)
    assert packed.dtype == np.float32
    assert packed.shape == (contract.n_values,)
    again = contract.unpack(packed)
    assert list(again) == list(arrays)
    for key, array in arrays.items():
        assert again[key].shape == array.shape
        assert again[key].tobytes() == array.tobytes()


def test_order_is_the_contracts_not_the_mappings() -> None:
    arrays = arrays_of(CONTRACT)
    backwards = dict(reversed(arrays.items()))
    assert CONTRACT.pack(arrays).tobytes() == CONTRACT.pack(backwards).tobytes()
    np.testing.assert_array_equal(CONTRACT.pack(arrays)[:2], arrays["decoder.bias"])


def test_missing_and_surplus_tensors_are_refused_with_counts() -> None:
    arrays = arrays_of(CONTRACT)
    arrays["lmoe.expert"] = arrays.pop("scale")
    with pytest.raises(ContractError) as caught:
        CONTRACT.pack(arrays)
    assert caught.value.code == "PFS-402"
    assert caught.value.counts == {"missing": 1, "surplus": 1}
    assert "lmoe.expert" in caught.value.local()
    assert "lmoe.expert" not in caught.value.public()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 2), np.float32),
        np.zeros((1, 3), np.float32),  # would broadcast
        np.zeros(6, np.float32),
        np.zeros((2, 3), np.float64),
        np.zeros((2, 3), np.int32),
    ],
)
def test_another_shape_or_dtype_is_refused_by_name(array: np.ndarray) -> None:
    with pytest.raises(ContractError, match=r"encoder\.lora_a") as caught:
        CONTRACT.pack(arrays_of(CONTRACT) | {"encoder.lora_a": array})
    assert caught.value.code == "PFS-402"


@pytest.mark.parametrize(
    "packed",
    [
        np.zeros(8, np.float32),
        np.zeros(10, np.float32),
        np.zeros((9, 1), np.float32),
        np.zeros(1, np.float32),  # would broadcast
        np.float32(0),
        np.zeros(9, np.float64),
        np.zeros(9, np.int32),
        np.zeros(9, object),
    ],
)
def test_a_packed_array_of_another_length_or_dtype_is_refused(packed: np.ndarray) -> None:
    with pytest.raises(ContractError) as caught:
        CONTRACT.unpack(packed)
    assert caught.value.code == "PFS-402"


@pytest.mark.parametrize(
    "other",
    [
        replace(CONTRACT, backbone="cd" * 32),
        replace(CONTRACT, classes=("lesion", "organ")),
        replace(CONTRACT, classes=("organ",)),
        replace(CONTRACT, image_size=448),
        replace(CONTRACT, method="fedavg"),
        replace(CONTRACT, tensors=CONTRACT.tensors[::-1]),
        replace(CONTRACT, tensors=CONTRACT.tensors[:-1]),
        replace(CONTRACT, tensors=(("decoder.bias", (3,)), *CONTRACT.tensors[1:])),
        replace(CONTRACT, tensors=(("decoder.bias2", (2,)), *CONTRACT.tensors[1:])),
    ],
)
def test_any_difference_changes_the_hash(other: Contract) -> None:
    assert other.hash != CONTRACT.hash


def test_the_hash_is_written_out() -> None:
    """A change of this text is a new contract version: old sites would refuse it, and should."""
    text = (
        '{"version":1,"method":"pfedsam","backbone":"' + "ab" * 32 + '","classes":["organ","lesion"],'
        '"image-size":224,"dtype":"float32",'
        '"tensors":[["decoder.bias",[2]],["encoder.lora_a",[2,3]],["scale",[]]]}'
    )
    assert CONTRACT.to_json() == text
    assert CONTRACT.hash == hashlib.sha256(text.encode()).hexdigest()


def test_a_digest_is_of_the_values_not_of_their_layout() -> None:
    values = np.array([1.0, -0.5, 3e38], np.float32)
    bytes_ = bytes.fromhex("0000803f 000000bf") + values[2:].astype("<f4").tobytes()
    assert digest(values) == hashlib.sha256(bytes_).hexdigest()
    assert digest(values.astype(">f4")) == digest(values)
    assert digest(np.repeat(values, 2)[::2]) == digest(values)
    assert digest(values[::-1]) != digest(values)
