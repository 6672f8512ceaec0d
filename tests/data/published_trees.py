"""Small files in the layouts of the public collections, as their archives unpack."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import nibabel
import numpy as np
from PIL import Image

RNG = np.random.default_rng(7)
DISC = np.s_[4:14, 5:17]
CUP = np.s_[7:11, 8:13]


def picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def colour(h: int = 18, w: int = 22) -> np.ndarray:
    return RNG.integers(0, 256, (h, w, 3)).astype(np.uint8)


def rim_and_cup(background: int, rim: int, cup: int) -> np.ndarray:
    mask = np.full((18, 22), background, np.uint8)
    mask[DISC], mask[CUP] = rim, cup
    return mask


def prostate(src: Path, cases: dict[str, int]) -> None:
    """Six folders; BMC with its own spelling, two zones in RUNMC, one header that differs in UCL."""
    for site, n in cases.items():
        (src / "Prostate" / site).mkdir(parents=True)
        for i in range(n):
            affine = np.diag([0.5, 0.5, 3.0, 1.0])
            affine[:3, 3] = (10.0, -20.0, i)
            image = RNG.normal(100, 20, (9, 8, 4)).astype(np.float32)
            mask = np.zeros((9, 8, 4), np.uint8)
            mask[2:6, 2:6, 1:3] = 1
            if site == "RUNMC":
                mask[4:6, 2:6, 1:3] = 2
            word = "Segmentation" if site == "BMC" else "segmentation"
            stem = src / "Prostate" / site / f"Case{i:02d}"
            nibabel.save(nibabel.Nifti1Image(image, affine), f"{stem}.nii.gz")
            shifted = affine + (site == "UCL" and i == 0) * np.eye(4, k=3)
            nibabel.save(nibabel.Nifti1Image(mask, shifted), f"{stem}_{word}.nii.gz")
        (src / "Prostate" / site / "readme.txt").write_text("no case")


def feddg(src: Path, cases: dict[str, int]) -> None:
    for domain, n in cases.items():
        for i in range(n):
            part = "train" if i else "test"
            folder = src / "Fundus" / domain / part / "ROIs"
            picture(folder / "image" / f"g{i:04d}.png", colour())
            picture(folder / "mask" / f"g{i:04d}.png", rim_and_cup(255, 128, 0))


def fedfms(src: Path) -> None:
    """Two photographs of every kind of place."""
    for place in ("REFUGE/train", "REFUGE/val", "REFUGE/test", "ORIGA", "G1020"):
        for i in range(2):
            name = f"{place[-1]}{i}"
            picture(src / "glaucoma" / place / "Images" / f"{name}.jpg", colour())
            picture(src / "glaucoma" / place / "Masks" / f"{name}.png", rim_and_cup(0, 1, 2))
            picture(src / "glaucoma" / place / "Masks_Square" / f"{name}.png", colour())
    for part, truth in (("Training", "GT"), ("Test", "Test_GT")):
        for i in range(2):
            name, folder = f"drishtiGS_{part[1]}{i}", src / "drishti" / part
            sub = "Images" if part == "Test" else "Images/GLAUCOMA"
            picture(folder / sub / f"{name}.png", colour())
            soft = folder / truth / name / "SoftMap"
            picture(soft / f"{name}_ODsegSoftmap.png", rim_and_cup(0, 128, 255))
            picture(soft / f"{name}_cupsegSoftmap.png", rim_and_cup(0, 64, 191))


def monuseg(src: Path, train: int, test: int) -> None:
    """Rectangles with corners (x, y) = (3, 2) … (9, 6), once by hand too small to enclose anything."""
    corners = [(3, 2), (9, 2), (9.4, 6.2), (3, 6)]
    regions = [corners, [(1, 1), (2, 2)]]
    body = "".join(
        "<Region><Vertices>"
        + "".join(f"<Vertex X={quoteattr(str(x))} Y={quoteattr(str(y))} Z='0'/>" for x, y in region)
        + "</Vertices></Region>"
        for region in regions
    )
    xml = (
        f"<?xml version='1.0'?><Annotations><Annotation><Regions>{body}</Regions></Annotation></Annotations>"
    )
    name = "MoNuSeg 2018 Training Data"
    places = [(src / name / name / "Tissue Images", src / name / name / "Annotations", train)]
    places.append((src / "MoNuSegTestData", src / "MoNuSegTestData", test))
    for images, polygons, n in places:
        for i in range(n):
            picture(images / f"TCGA-{images.name[:2]}-{i}.tif", colour())
            polygons.mkdir(parents=True, exist_ok=True)
            (polygons / f"TCGA-{images.name[:2]}-{i}.xml").write_text(xml)


def tnbc(src: Path, slides: int, each: int) -> None:
    for slide in range(1, slides + 1):
        for i in range(1, each + 1):
            name = f"{slide:02d}_{i}.png"
            picture(
                src / f"TNBC_NucleiSegmentation/Slide_{slide:02d}" / name,
                np.dstack([colour(), 255 + 0 * colour()[..., 0]]),
            )
            picture(src / f"TNBC_NucleiSegmentation/GT_{slide:02d}" / name, rim_and_cup(0, 255, 255))


def dsb(src: Path) -> None:
    """One image of each kind, RGBA as published, two nuclei that lie apart."""
    dark, light = np.full((18, 22, 3), 10, np.uint8), np.full((18, 22, 3), 200, np.uint8)
    for name, pixels in (("aa", dark), ("bb", light), ("cc", colour())):
        opaque = np.full((18, 22, 1), 255, np.uint8)
        picture(src / "stage1_train" / name / "images" / f"{name}.png", np.dstack([pixels, opaque]))
        for number, where in enumerate((np.s_[1:3, 1:3], np.s_[9:12, 9:14])):
            mask = np.zeros((18, 22), np.uint8)
            mask[where] = 255
            picture(src / "stage1_train" / name / "masks" / f"n{number}.png", mask)


def pannuke(src: Path, patches: dict[int, int]) -> None:
    for fold, n in patches.items():
        root = src / f"Fold {fold}"
        for sub in ("images", "masks"):
            (root / sub / f"fold{fold}").mkdir(parents=True)
        masks = np.zeros((n, 16, 16, 6))
        masks[:, 2:6, 3:9, 0], masks[:, 8:11, 3:6, 4] = 17, 3
        masks[..., 5] = 1 - (masks[..., :5] > 0).any(-1)
        np.save(root / f"images/fold{fold}/images.npy", RNG.integers(0, 256, (n, 16, 16, 3)).astype(float))
        tissues = ["Adrenal_gland" if i % 2 else "Head&Neck" for i in range(n)]
        np.save(root / f"images/fold{fold}/types.npy", np.array(tissues))
        np.save(root / f"masks/fold{fold}/masks.npy", masks)
