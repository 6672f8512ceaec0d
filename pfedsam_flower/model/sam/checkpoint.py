"""Backbone weights from a file: recognised, checked, counted, loaded; or refused with a sentence.

Official ``.pth`` files are read weights-only (no code in a pickle runs); ``.safetensors`` as they are.
"""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import CheckpointError
from .backbones import BACKBONES, Backbone


@dataclass(frozen=True)
class LoadReport:
    """What a file gave: names of the tensors that were loaded, missing, unexpected, interpolated."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    interpolated: tuple[str, ...]
    official: bool

    def sentence(self) -> str:
        """One line for a log."""
        kind = "official file" if self.official else "file of unknown origin"
        return (
            f"{kind}: {len(self.loaded)} tensors loaded, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.interpolated)} interpolated"
        )


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_digest(state: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes and float32 values of a state dict: the backbone's identity.

    The same for a ``.pth`` and a ``.safetensors`` of the same weights.
    """
    total = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().to("cpu", torch.float32).contiguous()
        total.update(f"{name}{tuple(values.shape)}".encode())
        total.update(values.numpy().tobytes())
    return total.hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, on the CPU.

    Raises:
        CheckpointError: PFS-301 when the file is missing, cut, not a checkpoint, or holds code.
    """
    if not path.is_file():
        raise CheckpointError("PFS-301", "there is no such checkpoint file", where=str(path))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "PFS-301",
            "the file holds more than tensors, or is no checkpoint; it was not opened further",
            where=str(path),
            hint="use a plain state dict (.pth) or a .safetensors file from a source you trust",
        ) from error
    except Exception as error:  # torch, zipfile and safetensors raise many kinds for a cut file
        raise CheckpointError(
            "PFS-301",
            f"the file cannot be read as a checkpoint ({type(error).__name__}); it may be cut",
            where=str(path),
            hint="compare its size with the source and fetch it again",
        ) from error
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            "PFS-302",
            "the file is not a flat table of tensors",
            where=str(path),
            hint="save the model's state_dict()",
        )
    return state


def load_backbone(sam: nn.Module, backbone: Backbone, path: Path) -> LoadReport:
    """Load a file into ``sam`` and say what matched.

    Args:
        sam: from ``build_sam``; changed in place, only when everything fits.

    Raises:
        CheckpointError: PFS-301 unreadable, PFS-302 another architecture or tensors missing,
            PFS-303 named like an official file but of other content.
    """
    state = read_state(path)
    if path.name in {row.file for row in BACKBONES.values() if row.file}:
        named = next(row for row in BACKBONES.values() if row.file == path.name)
        found = file_digest(path)
        if found != named.sha256:
            raise CheckpointError(
                "PFS-303",
                f"the file's SHA-256 is {found[:16]}…, the official one is {named.sha256[:16]}…",
                where=str(path),
                hint="fetch it again, or rename it if it is meant to be another file",
            )
        official = named is backbone
    else:
        official = False
    own = sam.state_dict()
    interpolated = []
    for name in own.keys() & state.keys():
        if state[name].shape != own[name].shape:
            resized = _resize(name, state[name], own[name])
            if resized is None:
                raise CheckpointError(
                    "PFS-302",
                    f"it has shape {tuple(state[name].shape)}, the backbone {tuple(own[name].shape)}",
                    where=f"{name} in {path}",
                    hint=f"the file looks like {_guess(state)}; set backbone.name accordingly",
                )
            state[name] = resized
            interpolated.append(name)
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    if missing:
        raise CheckpointError(
            "PFS-302",
            f"{len(missing)} of {len(own)} tensors are missing ({len(unexpected)} others are in the file)",
            where=f"{missing[0]} and others, in {path}",
            hint=f"the file looks like {_guess(state)}",
        )
    bad = [n for n in own if state[n].is_floating_point() and not torch.isfinite(state[n]).all()]
    if bad:
        raise CheckpointError("PFS-302", f"{len(bad)} tensors hold values that are not finite", where=bad[0])
    sam.load_state_dict({name: state[name] for name in own}, strict=True)
    return LoadReport(tuple(sorted(own)), (), tuple(unexpected), tuple(sorted(interpolated)), official)


def _resize(name: str, found: Tensor, wanted: Tensor) -> Tensor | None:
    """Position tables of another grid, interpolated; None for any other tensor."""
    if name.endswith("pos_embed") and found.ndim == 4 and found.shape[-1] == wanted.shape[-1]:
        size = wanted.shape[1:3]
        resized = nn.functional.interpolate(found.permute(0, 3, 1, 2).float(), size=size, mode="bicubic")
        return resized.permute(0, 2, 3, 1).contiguous()
    if ".rel_pos_" in name and found.ndim == 2 and found.shape[1] == wanted.shape[1]:
        resized = nn.functional.interpolate(found.T[None].float(), size=wanted.shape[0], mode="linear")
        return resized[0].T.contiguous()
    return None


def _guess(state: dict[str, Tensor]) -> str:
    """Which row of BACKBONES a state dict could belong to, from the patch embedding's shape."""
    weight = state.get("image_encoder.patch_embed.proj.weight")
    if weight is None:
        return "no plain-ViT SAM"
    for name, row in BACKBONES.items():
        if tuple(weight.shape[::2]) == (row.embed_dim, row.patch):
            return name
    return f"an encoder {weight.shape[0]} wide with patches of {weight.shape[-1]}"
