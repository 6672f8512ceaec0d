"""One box or one point per object: does a backbone answer as a SAM should?

    python -m benchmarks.prompted --lgg FOLDER --nuclei FOLDER [--lite-medsam FILE] [--plain FILE]

Every object is a connected component of the test patients' masks of at least 50 pixels; the box is exact,
the point is the object's deepest pixel. Beside the backbones: the box itself, filled; Otsu's threshold
inside it; and the same network with random weights.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy import ndimage

from pfedsam_flower.data.cases import CaseData
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.load import load_sam
from pfedsam_flower.model.sam.modules import untrained
from pfedsam_flower.prediction.prompted import predict_prompted
from pfedsam_flower.prediction.prompts import Box, Point, Prompt

from .datasets import COLLECTIONS, Pooled, load

SMALLEST = 50
Answers = Callable[[np.ndarray, list[Prompt]], list[np.ndarray]]


def objects_of(case: CaseData, most: int) -> list[tuple[np.ndarray, Box, Point]]:
    """(mask, box, point) of each object of a one-slice case, largest first, at most ``most``."""
    pieces, _ = ndimage.label(case.target[0, 0])
    found = []
    for number, where in enumerate(ndimage.find_objects(pieces), start=1):
        mask = pieces == number
        if mask.sum() < SMALLEST:
            continue
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), mask.shape)
        rows, columns = where
        box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
        found.append((mask, box, (float(column), float(row), True)))
    return sorted(found, key=lambda one: -int(one[0].sum()))[:most]


def filled(image: np.ndarray, prompts: list[Prompt]) -> list[np.ndarray]:
    """The box itself."""
    masks = []
    for prompt in prompts:
        mask = np.zeros(image.shape[:2], bool)
        x1, y1, x2, y2 = (int(v) for v in prompt.box)
        mask[y1:y2, x1:x2] = True
        masks.append(mask)
    return masks


def otsu(image: np.ndarray, prompts: list[Prompt]) -> list[np.ndarray]:
    """Two classes of grey inside the box; the object is the one that the box's centre belongs to."""
    grey = image.mean(axis=-1)
    masks = []
    for prompt in prompts:
        x1, y1, x2, y2 = (int(v) for v in prompt.box)
        inside = grey[y1:y2, x1:x2]
        bright = inside > _otsu_threshold(inside)
        mask = np.zeros(grey.shape, bool)
        mask[y1:y2, x1:x2] = bright == bright[bright.shape[0] // 2, bright.shape[1] // 2]
        masks.append(mask)
    return masks


def _otsu_threshold(values: np.ndarray) -> float:
    """The threshold with the largest variance between the two classes (Otsu 1979), over 64 levels."""
    counts, edges = np.histogram(values, bins=64)
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middle)
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
        variance = np.nan_to_num(below * above * apart**2)
    return float(edges[1 + int(variance.argmax())])


def backbone(name: str, checkpoint: str) -> Answers:
    """A SAM at its native size."""
    sam, _ = load_sam(name, BACKBONES[name].native_size, checkpoint)
    sam.eval()

    def answers(image: np.ndarray, prompts: list[Prompt]) -> list[np.ndarray]:
        return [answer.mask for answer in predict_prompted(sam, image, prompts)]

    return answers


def score(data: Pooled, name: str, answers: Answers, kind: str) -> tuple[float, int]:
    """Mean IoU over objects (with ``by_site``, within each site first), and the number of objects."""
    how = COLLECTIONS[name]
    found: dict[str, list[float]] = defaultdict(list)
    for case in data.test:
        objects = objects_of(case, how.objects)
        if not objects:
            continue
        asked = [Prompt(box=box) if kind == "box" else Prompt(points=(point,)) for _, box, point in objects]
        for (truth, _, _), mask in zip(objects, answers(case.image[0], asked), strict=True):
            iou = float((mask & truth).sum() / (mask | truth).sum())
            found[data.site_of[case.case.id] if how.by_site else ""].append(iou)
    return float(np.mean([np.mean(v) for v in found.values()])), sum(map(len, found.values()))


def main() -> None:
    """Print one line of JSON per row, kind of prompt and collection."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompted")
    parser.add_argument("--lgg", type=Path)
    parser.add_argument("--nuclei", type=Path)
    parser.add_argument("--lite-medsam", help="LiteMedSAM's published file")
    parser.add_argument("--plain", help="plain.safetensors, as examples/pretrain writes it")
    parser.add_argument("--weights", default="", help="other weights of vit_tiny than those in the package")
    words = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, Answers] = {"vit_tiny": backbone("vit_tiny", words.weights)}
    with tempfile.TemporaryDirectory() as folder:
        random = Path(folder) / "random.safetensors"
        save_file(untrained(BACKBONES["vit_tiny"], 224, 0).state_dict(), random)
        rows["random"] = backbone("vit_tiny", str(random))
    if words.plain:
        rows["plain cut"] = backbone("vit_tiny", words.plain)
    if words.lite_medsam:
        rows["lite_medsam"] = backbone("lite_medsam", words.lite_medsam)
    for name in COLLECTIONS:
        folder = getattr(words, name)
        if folder is None:
            continue
        data = load(name, folder)
        for kind in ("box", "point"):
            plain_rows = {"filled box": filled, "otsu": otsu} if kind == "box" else {}
            for row, answers in (plain_rows | rows).items():
                iou, count = score(data, name, answers, kind)
                line = {"data": name, "prompt": kind, "row": row, "iou": round(iou, 4), "objects": count}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
