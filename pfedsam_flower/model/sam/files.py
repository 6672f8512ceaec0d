"""Which file a backbone's weights come from, and whether it is that file. No torch: asked before round 1."""

import hashlib
from pathlib import Path

from ...errors import CheckpointError, SettingsError
from .backbones import BACKBONES

SHIPPED = Path(__file__).parent / "weights"


def weights_file(name: str, checkpoint: str) -> Path:
    """The file that backbone ``name`` is to be loaded from.

    A file with the name of a published one must be that one, and one of the row that is asked for.

    Args:
        checkpoint: a path; empty: the weights inside the package, for the rows that have them.

    Raises:
        SettingsError: PFS-101 when there is no such backbone.
        CheckpointError: PFS-301 no file is named or it is not there, PFS-302 the published file of another
            backbone, PFS-303 named like a published file but of other content, PFS-304 the package's own
            weights are missing or altered.
    """
    if name not in BACKBONES:
        raise SettingsError("PFS-101", f"backbone.name = {name!r}: no such backbone")
    if not checkpoint:
        return _shipped(name)
    path = Path(checkpoint)
    if not path.is_file():
        raise CheckpointError("PFS-301", "there is no such checkpoint file", where=checkpoint)
    known = {row.file: other for other, row in BACKBONES.items() if row.sha256}
    if path.name in known:
        other = known[path.name]
        found, published = file_digest(path), BACKBONES[other].sha256
        if found != published:
            raise CheckpointError(
                "PFS-303",
                f"the file's SHA-256 is {found[:16]}…, the official one is {published[:16]}…",
                where=checkpoint,
                hint="fetch it again, or rename it if it is meant to be another file",
            )
        if other != name:
            raise CheckpointError(
                "PFS-302",
                f"this file is {other}, the settings say {name}",
                where=checkpoint,
                hint=f"set backbone.name = {other}",
            )
    return path


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shipped(name: str) -> Path:
    row = BACKBONES[name]
    if not row.shipped:
        raise CheckpointError(
            "PFS-301",
            f"{name} needs its weights and no checkpoint is set",
            hint=f"set coordinator.checkpoint and each site's checkpoint to {row.file}",
        )
    path = SHIPPED / row.shipped
    hint = "install the package again"
    if not path.is_file():
        raise CheckpointError("PFS-304", "the package's own weights are missing", where=str(path), hint=hint)
    found = file_digest(path)
    if found != row.shipped_sha256:
        raise CheckpointError(
            "PFS-304",
            f"the file's SHA-256 is {found[:16]}…, {row.shipped_sha256[:16]}… was released",
            where=str(path),
            hint=hint,
        )
    return path
