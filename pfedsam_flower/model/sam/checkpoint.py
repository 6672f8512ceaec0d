"""Backbone weights from a file: recognised, checked, counted, loaded; or refused with a sentence.

Published ``.pth`` files are read weights-only (no code in a pickle runs); ``.safetensors`` as they are.
"""

import hashlib
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import CheckpointError
from .backbones import BACKBONES
from .layouts import describe, fitting_rows, translate, unwrap
from .quantised import dequantise


@dataclass(frozen=True)
class LoadReport:
    """What a file gave, by names of tensors.

    Attributes:
        loaded: in the model as the file has them, or interpolated.
        missing: in the model, not in the file, and set to zero, because the file's layout has no such thing.
        unexpected: in the file, without a place in a SAM; left out.
        interpolated: position tables of another grid.
        layout: whose names the file has.
        official: the published file by name and SHA-256, or the package's own.
        note: what else a user should know; may be empty.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    interpolated: tuple[str, ...]
    layout: str
    official: bool
    note: str = ""

    def sentence(self) -> str:
        """One line for a log."""
        kind = "official file" if self.official else "file of unknown origin"
        counts = (
            f"{len(self.loaded)} tensors loaded, {len(self.missing)} set to zero, "
            f"{len(self.unexpected)} left out, {len(self.interpolated)} interpolated"
        )
        return f"{kind}, {self.layout} names: {counts}" + (f"; {self.note}" if self.note else "")


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
    """The tensors of a checkpoint file, on the CPU, under the file's own names; wrappers taken off.

    Raises:
        CheckpointError: PFS-301 when the file is missing, cut, not a checkpoint, or holds code; PFS-302
            when it holds no table of tensors.
    """
    if not path.is_file():
        raise CheckpointError("PFS-301", "there is no such checkpoint file", where=str(path))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
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
    state = unwrap(loaded)
    if state is None:
        raise CheckpointError(
            "PFS-302",
            "the file holds no table of tensors",
            where=str(path),
            hint="save the model's state_dict()",
        )
    return state


def load_backbone(sam: nn.Module, name: str, path: Path) -> LoadReport:
    """Load a file into ``sam`` and say what matched. All of the encoder, or nothing.

    Args:
        sam: from ``build_sam`` for the row ``name``; changed in place, only when everything fits.
        path: from ``weights_file``, which has checked a published name against the content.

    Raises:
        CheckpointError: PFS-301 unreadable, PFS-302 another architecture, tensors missing, or an encoder
            with parts that the row's has not.
    """
    found = read_state(path)
    translated = translate(found)
    if translated is None:
        raise CheckpointError(
            "PFS-302",
            f"its {len(found)} tensors have the names of no SAM that is known here",
            where=f"{min(found)} and others, in {path}",
        )
    state, layout, own = translated.state, translated.layout, sam.state_dict()
    if name not in fitting_rows(state):
        raise _another(state, name, path)
    interpolated = _fit_shapes(state, own, path)
    zero = [n for n in own if n not in state and re.search(layout.zero, n)]
    missing = sorted(own.keys() - state.keys() - set(zero))
    surplus = sorted(state.keys() - own.keys())
    if missing:
        raise CheckpointError(
            "PFS-302",
            f"{len(missing)} of {len(own)} tensors are missing ({len(surplus)} others are in the file)",
            where=f"{missing[0]} and others, in {path}",
            hint=f"its encoder looks like {describe(state)}; the file may be cut or be part of a model",
        )
    changed = [n for n in surplus if n.startswith("image_encoder.")]
    if changed:
        raise CheckpointError(
            "PFS-302",
            f"its encoder has {len(changed)} tensors more than {name}: without them it is another network",
            where=f"{changed[0]} and others, in {path}",
            hint="adapters that were trained elsewhere (SAM-Med2D's, for one) are not supported",
        )
    bad = [n for n in own if n in state and own[n].is_floating_point() and not _finite(state[n])]
    if bad:
        raise CheckpointError(
            "PFS-302",
            f"{len(bad)} tensors hold values that are not finite, or integers",
            where=f"{bad[0]} in {path}",
        )
    sam.load_state_dict({n: state[n] if n in state else torch.zeros_like(own[n]) for n in own}, strict=True)
    return LoadReport(
        loaded=tuple(sorted(own.keys() - set(zero))),
        missing=tuple(sorted(zero)),
        unexpected=tuple(sorted({*surplus, *translated.dropped})),
        interpolated=tuple(sorted(interpolated)),
        layout=layout.title,
        official=bool(BACKBONES[name].sha256) and path.name == BACKBONES[name].file,
        note=layout.note,
    )


def load_shipped(sam: nn.Module, path: Path) -> LoadReport:
    """Load the package's own file, whose content ``weights_file`` has checked."""
    from safetensors.torch import load_file

    state = dequantise(load_file(path))
    sam.load_state_dict(state, strict=True)
    return LoadReport(tuple(sorted(state)), (), (), (), "the package's", official=True)


def _another(state: dict[str, Tensor], name: str, path: Path) -> CheckpointError:
    rows = fitting_rows(state)
    return CheckpointError(
        "PFS-302",
        f"this file is {describe(state)}, the settings say {name}",
        where=str(path),
        hint=f"set backbone.name = {' or '.join(rows)}" if rows else "no backbone here has this encoder",
    )


def _fit_shapes(state: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> list[str]:
    """Names whose tables were interpolated, in ``state`` itself; any other difference is refused."""
    interpolated = []
    for name in sorted(own.keys() & state.keys()):
        if state[name].shape != own[name].shape:
            resized = _resize(name, state[name], own[name])
            if resized is None:
                raise CheckpointError(
                    "PFS-302",
                    f"it has shape {tuple(state[name].shape)}, the backbone {tuple(own[name].shape)}",
                    where=f"{name} in {path}",
                    hint=f"its encoder looks like {describe(state)}",
                )
            state[name] = resized
            interpolated.append(name)
    return interpolated


def _finite(value: Tensor) -> bool:
    return value.is_floating_point() and bool(value.float().isfinite().all())


def _resize(name: str, found: Tensor, wanted: Tensor) -> Tensor | None:
    """Position tables of another grid, interpolated; None for any other tensor."""
    if not found.numel() or not found.is_floating_point():
        return None
    if name.endswith("pos_embed") and found.ndim == 4 and found.shape[-1] == wanted.shape[-1]:
        size = wanted.shape[1:3]
        resized = nn.functional.interpolate(found.permute(0, 3, 1, 2).float(), size=size, mode="bicubic")
        return resized.permute(0, 2, 3, 1).contiguous()
    if ".rel_pos_" in name and found.ndim == 2 and found.shape[1] == wanted.shape[1]:
        resized = nn.functional.interpolate(found.T[None].float(), size=wanted.shape[0], mode="linear")
        return resized[0].T.contiguous()
    return None
