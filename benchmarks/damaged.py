"""Damaged files: does each give one clear error, and nothing else?

Small good files of every format are generated, damaged one at a time, and read through the doors a site
uses: the reader, ``load_case``, the examination of ``pfedsam check-data`` and ``pfedsam predict``. All of
them take the files before. A damage is passed when each door then answers with a PfedsamError (or a finding
that is an error) of one sentence whose public text names no file, and when the folder afterwards holds what
it held before.

Only damage that can be noticed is dealt out. Voxels stored plain (NIfTI, NRRD raw, MetaImage raw, DICOM, BMP,
strips of a plain TIFF) carry no checksum: a flipped byte there is another picture, as good as the first, and
no reader can tell. The same holds for the coefficients and the size of a JPEG, the raw deflate stream of
DICOM and digits of a spacing or a position. So bytes are flipped where a checksum covers them (gzip, zlib,
PNG) or where the header would contradict itself or the length of the file (magic numbers, sizes, types,
encodings).

    .venv/bin/python -m benchmarks.damaged [--count 500] [--seed 0]
"""

import argparse
import collections
import hashlib
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.volume_files import FORMATS, FRAME, VOLUMES, Written
from pfedsam_flower.data.cases import load_case
from pfedsam_flower.data.checks import examine
from pfedsam_flower.data.inputs import Input
from pfedsam_flower.data.labels import label_map
from pfedsam_flower.data.layouts import Case
from pfedsam_flower.data.readers import read_image, read_mask
from pfedsam_flower.errors import PfedsamError
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site.predicting import Wanted, predict_case

SHAPE = (5, 14, 12)
FLOATS = (*(name for name in VOLUMES if not name.startswith("dicom")), "tif")
MASKS = tuple(name for name in FORMATS if not name.startswith(("dicom", "jpg")))


@dataclass(frozen=True)
class Trial:
    """One damage and what came of it: ``outcome`` is clear, silent, a traceback or litter."""

    kind: str
    form: str
    role: str
    outcome: str
    told: str


def damage_and_read(folder: Path, seed: int, number: int) -> Trial:
    """Generates a site of one case in ``folder``, damages it, reads it."""
    rng = np.random.default_rng((seed, number))
    kind = list(KINDS)[number % len(KINDS)]
    form = str(rng.choice(KINDS[kind][0]))
    role = str(rng.choice(["image", "mask"])) if form in MASKS and kind != "series" else "image"
    # the other file is of a format that can lie on the same grid
    other = form if form in MASKS else "png" if form not in VOLUMES else "nii.gz"
    image_form, mask_form = (form, other) if role == "image" else (other, form)
    values = rng.integers(-200, 900, SHAPE).astype(np.float32 if kind == "nan" else np.int16)
    image = FORMATS[image_form](folder / "images", "p1", values, rng)
    mask = FORMATS[mask_form](folder / "masks", "p1", (values > 300).astype(values.dtype), rng)
    case = Case("p1", "p1", image.path, mask.path)
    doors = _doors(case, role, folder.parent)
    for door in doors[:-1]:
        door()  # what is whole is read
    KINDS[kind][1](image if role == "image" else mask, form, rng)
    if kind == "mask size":
        doors = doors[1:-1] if role == "image" else doors[1:]  # each file alone is good
    before = _content(folder.parent)
    outcome, told = "clear", ""
    for door in doors:
        try:
            door()
            outcome, told = "silent", "no error"
        except PfedsamError as error:
            told = error.local()
            if len(error.message.splitlines()) != 1 or "p1" in error.public():
                outcome = "not one sentence"
        except Exception as error:
            outcome, told = "traceback", repr(error)
        if outcome != "clear":
            break
    if outcome == "clear" and _content(folder.parent) != before:
        outcome = "litter"
    return Trial(kind, form, role, outcome, told)


def _doors(case: Case, role: str, folder: Path) -> list[Callable[[], object]]:
    """The reader, what training reads through, check-data, predict (whose model is never reached)."""
    site = SiteSettings(
        site="a", data=str(folder / "site"), state=str(folder / "state"), labels="organ=1", patient="^(.+)$"
    )
    labels, run = label_map("organ=1", ("organ", "lesion")), RunSettings()
    one = Input("p1", case.image, case.mask if role == "mask" else None)
    wanted = Wanted(folder / "out", False, False, labels, 1.0)
    return [
        lambda: read_image(case.image) if role == "image" else read_mask(case.mask),
        lambda: load_case(case, labels, run.image),
        lambda: _raise_findings(site, run, folder / "split.json"),
        lambda: predict_case(SimpleNamespace(run=run), one, wanted, lambda done, n: None),  # type: ignore[arg-type]
    ]


class _Found(PfedsamError):
    """An error that an examination found."""


def _raise_findings(site: SiteSettings, run: RunSettings, split: Path) -> None:
    for finding in examine(site, run, split).findings:
        # one patient cannot be split: said of the whole site, and no answer to the damage
        if finding.severity == "error" and finding.code not in ("PFS-203",):
            raise _Found(finding.code, finding.text, where=finding.where, hint=finding.hint)


def _content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def cut(case: Written, form: str, rng: np.random.Generator) -> None:
    """Keeps between nothing and 97 % of one file."""
    path = _one(case, rng)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * rng.uniform(0, 0.97))])


def empty(case: Written, form: str, rng: np.random.Generator) -> None:
    """Leaves a file of no bytes."""
    _one(case, rng).write_bytes(b"")


def flip(case: Written, form: str, rng: np.random.Generator) -> None:
    """Changes one to four bytes where it can be noticed."""
    path = case.files[0] if form in ("mhd", "nhdr") else _one(case, rng)
    body = bytearray(path.read_bytes())
    places = [k for start, stop in _noticeable(form, bytes(body)) for k in range(start, stop)]
    for k in rng.choice(places, min(int(rng.integers(1, 5)), len(places)), replace=False):
        old = body[k]
        while bytes([body[k]]).lower() == bytes([old]).lower() or chr(body[k]).isspace():
            body[k] = int(rng.integers(256))
    path.write_bytes(body)


def _noticeable(form: str, body: bytes) -> list[tuple[int, int]]:
    """(start, stop) of the bytes whose change shows."""

    def after(pattern: bytes, length: int = 0) -> tuple[int, int]:
        found = re.search(pattern, body, re.DOTALL)
        assert found, (form, pattern)
        return (found.end(), found.end() + length) if length else found.span(1)

    if form == "nii":  # sizeof_hdr, dim[0..3], datatype and bitpix, vox_offset, magic
        return [(0, 4), (40, 48), (70, 74), (108, 112), (344, 348)]
    if form in ("nii.gz", "nhdr gz"):
        return [(10, len(body))]  # before: time and name
    if form.startswith(("nrrd", "nhdr")):
        spots = [(0, 7), *(after(rb"\n%s: ([^\n]+)\n" % key) for key in (b"type", b"sizes", b"encoding"))]
        return [*spots, (body.index(b"\n\n") + 12, len(body))] if form == "nrrd gzip" else spots
    if form.startswith(("mha", "mhd")):
        spots = [after(rb"\n%s = ([^\n]+)\n" % key) for key in (b"DimSize", b"ElementType", b"NDims")]
        local = re.search(rb"ElementDataFile = LOCAL\n", body)
        return [(local.end(), len(body))] if form == "mha zlib" and local else spots
    if form.startswith("png"):
        start = body.index(b"IDAT")
        return [(16, 29), (start + 4, start + 4 + int.from_bytes(body[start - 4 : start]))]
    if form == "tif":
        return [(0, 4)]
    if form == "jpg":
        return [(0, 3)]
    if form == "bmp":  # magic, bits per pixel, compression
        return [(0, 2), (28, 34)]
    spots = [(128, 132), after(rb"\x02\x00\x10\x00UI.\x00", 12)]  # magic; transfer syntax
    if form == "dicom deflated":
        return spots
    sizes = (rb"\x28\x00\x10\x00US\x02\x00", rb"\x28\x00\x11\x00US\x02\x00", rb"\x28\x00\x00\x01US\x02\x00")
    return spots if form == "dicom implicit" else [*spots, *(after(tag, 2) for tag in sizes)]


def swap(case: Written, form: str, rng: np.random.Generator) -> None:
    """The head of another file, or another format under this suffix."""
    path = case.files[0]
    others = [name for name in FORMATS if not _related(name, form)]
    with tempfile.TemporaryDirectory() as place:
        other = FORMATS[str(rng.choice(others))](Path(place), "x", np.ones(SHAPE, np.int16), rng).files[0]
        larger = FORMATS[form](Path(place) / "larger", "x", np.ones((6, 16, 18), np.int16), rng).files[0]
        heads = {"nii": 352, "mha": 0, "nrrd": 0}
        if form in heads and rng.random() < 0.5:
            end = heads[form] or _header_end(path.read_bytes(), form)
            begin = heads[form] or _header_end(larger.read_bytes(), form)
            path.write_bytes(larger.read_bytes()[:begin] + path.read_bytes()[end:])
        else:
            path.write_bytes(other.read_bytes())


def _header_end(body: bytes, form: str) -> int:
    return body.index(b"\n\n") + 2 if form == "nrrd" else body.index(b"LOCAL\n") + 6


def _related(name: str, form: str) -> bool:
    return any({name[:3], form[:3]} <= family for family in ({"mha", "mhd"}, {"nrr", "nhd"}, {form[:3]}))


def nan(case: Written, form: str, rng: np.random.Generator) -> None:
    """One voxel becomes NaN or infinite; the file is written again, whole."""
    values = rng.uniform(0, 1, SHAPE).astype(np.float32)
    place = (0, int(rng.integers(SHAPE[1])), int(rng.integers(SHAPE[2])))
    values[place] = rng.choice([np.nan, np.inf, -np.inf])
    FORMATS[form](case.path.parent, "p1", values, rng)


def mask_size(case: Written, form: str, rng: np.random.Generator) -> None:
    """One axis of the file is longer than that of its partner."""
    shape = np.array(SHAPE)
    shape[int(rng.integers(0 if form in VOLUMES else 1, 3))] += 1
    for path in case.files:
        path.unlink()
    FORMATS[form](case.path.parent, "p1", np.ones(shape, np.int16), rng)


def series(case: Written, form: str, rng: np.random.Generator) -> None:
    """A slice in the middle is lost, moved, doubled, turned, or of another size."""
    import pydicom

    path = case.files[int(rng.integers(1, len(case.files) - 1))]
    what = str(rng.choice(["lost", "moved", "sideways", "doubled", "turned", "size"]))
    if what == "lost":
        path.unlink()
        return
    slice_ = pydicom.dcmread(path)
    normal, row = np.array(FRAME[3:]).reshape(3, 3)[:, 2], np.array(FRAME[3:]).reshape(3, 3)[:, 0]
    position = np.array(slice_.ImagePositionPatient, float)
    if what in ("moved", "sideways"):
        position = position + rng.uniform(0.3, 0.7) * (normal if what == "moved" else 3 * row)
        slice_.ImagePositionPatient = [f"{p:.6f}" for p in position]
    elif what == "turned":
        slice_.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    elif what == "size":
        slice_.Rows, slice_.Columns = slice_.Columns, slice_.Rows
    else:
        path = path.with_name("copy.dcm")
    slice_.save_as(path)


def _one(case: Written, rng: np.random.Generator) -> Path:
    return case.files[int(rng.integers(len(case.files)))]


KINDS: dict[str, tuple[tuple[str, ...], Callable[[Written, str, np.random.Generator], None]]] = {
    "cut": (tuple(FORMATS), cut),
    "flip": (tuple(FORMATS), flip),
    "swap": (tuple(FORMATS), swap),
    "mask size": (MASKS, mask_size),
    "nan": (FLOATS, nan),
    "empty": (tuple(FORMATS), empty),
    "series": (("dicom series",), series),
}


def campaign(count: int, seed: int) -> list[Trial]:
    """``count`` damages, the kinds in turn."""
    trials = []
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            trials.append(damage_and_read(Path(folder) / "site", seed, number))
    return trials


def main() -> None:
    """Prints counts by kind, what was not clear, and the total."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    trials = campaign(args.count, args.seed)
    for kind in KINDS:
        ours = [trial for trial in trials if trial.kind == kind]
        print(json.dumps({"kind": kind, "n": len(ours), **collections.Counter(t.outcome for t in ours)}))
    for trial in trials:
        if trial.outcome != "clear":
            print(json.dumps(trial.__dict__))
    clear = sum(trial.outcome == "clear" for trial in trials)
    print(f"{clear}/{len(trials)} clear errors")
    raise SystemExit(clear < len(trials))


if __name__ == "__main__":
    main()
