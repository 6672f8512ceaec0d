"""Experts taken over from an earlier state: what a site has learnt goes on in another federation or contract.

The other way out of PFS-601 beside setting the state aside. Only the personal parameters are taken; the
optimiser, the model trained alone and the replies belong to what is over. The earlier state is only read.
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ..errors import StoreError
from ..settings.site import SiteSettings
from .files import locked, read_checked, write_whole
from .paths import store_folder

FILE = "adopted.safetensors"
"""Lies in the new store until the second round there is recorded: the first may be done again."""

FITS = ("site", "backbone", "personal")
"""Parts of the binding that must be the same: these experts, beside these frozen blocks, of this hospital."""


def adopt(site: SiteSettings, federation: str, source: Path) -> Path:
    """Writes the newest experts of ``source`` as the start of the site's state for ``federation``.

    Args:
        source: a store, also one that was set aside: the folder with ``state.json``.

    Returns:
        The file that the next round begins with.

    Raises:
        StoreError: PFS-601 there is state already, or the earlier one is another site's; PFS-603 the
            earlier one is missing, damaged or without experts; PFS-604 it cannot be written.
    """
    path = source / "state.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        binding, row = dict(found["binding"]), found["generations"][-1]
        method, fits = str(binding["method"]), {name: str(binding[name]) for name in FITS}
        content = read_checked(source / row["personal"], row["personal_sha256"])
        tensors = {k: v for k, v in load(content).items() if k.startswith("personal/")}
    except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as error:
        raise StoreError(
            "PFS-603",
            "no personal state can be read there",
            where=str(path),
            hint="name the folder of an earlier state, the one with state.json in it",
        ) from error
    if not tensors:
        raise StoreError("PFS-603", f"the state of {method} there has no experts", where=str(path))
    if fits["site"] != site.site:
        raise StoreError(
            "PFS-601", f"these are the experts of {fits['site']}, not of {site.site}", where=str(path)
        )
    folder = store_folder(site, federation, method)
    with locked(folder):
        if (folder / "state.json").exists():
            raise StoreError(
                "PFS-601",
                f"{site.site} has personal state for {federation} already; nothing was changed",
                where=str(folder),
                hint="set it aside first: pfedsam site reset FILE --federation NAME --yes",
            )
        write_whole(folder / FILE, save(tensors, metadata=fits))
    return folder / FILE


def adopted(folder: Path, binding: dict[str, str]) -> dict[str, Tensor] | None:
    """Personal parameters that a new store begins with, by name; None where nothing was adopted.

    Raises:
        StoreError: PFS-601 they do not fit the run's backbone or experts, PFS-603 the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            fits = file.metadata()
            tensors = {name.removeprefix("personal/"): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise StoreError(
            "PFS-603", "the adopted experts cannot be read", where=str(path), hint="adopt them again"
        ) from error
    different = [name for name in FITS if fits.get(name) != binding[name]]
    if different:
        raise StoreError(
            "PFS-601",
            f"the adopted experts do not fit this run: {' and '.join(different)} differ",
            where=str(path),
            hint="remove the file to begin with fresh experts, or keep the experts' and backbone's settings",
        )
    return tensors
