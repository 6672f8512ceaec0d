"""Masks lie on what they were predicted from: same grid, same place in the patient, however it is stored."""

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from pfedsam_flower.data.inputs import Input, find_inputs
from pfedsam_flower.data.labels import label_map
from pfedsam_flower.data.readers import read_grid, read_mask
from pfedsam_flower.errors import DataError, StoreError
from pfedsam_flower.model.build import build
from pfedsam_flower.model.exchange import export_shared
from pfedsam_flower.settings.run import ImageSettings, RunSettings
from pfedsam_flower.site.predicting import Wanted, predict_case
from pfedsam_flower.site.trained import Trained

SIZE = 56
DIM, BRIGHT = 100, 200  # the object, and in it the finer class
SHAPE = (5, SIZE, SIZE)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A network that answers brightness: above a third of the range is organ, above two thirds lesion."""
    settings = ImageSettings(size=SIZE, clip_low=0, clip_high=100)
    run = RunSettings(image=settings, classes=("organ", "lesion"), method="fedavg")
    built = build(run, "")

    def brightness(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images[:, :1] - 85, images[:, :1] - 170], 1) / 20

    built.model.trunk, built.model.tail = (lambda images, valid: images), brightness
    return Trained(run, built, 1, {"global": 1.0}, export_shared(built.model, built.contract))


def wanted(folder: Path, **more: bool) -> Wanted:
    options = {"per_class": False, "probabilities": False} | more
    return Wanted(folder, **options, labels=label_map("", ("organ", "lesion")), tolerance=2.0)


def predict(trained: Trained, path: Path, **more: bool):
    [one] = find_inputs(path).inputs
    return predict_case(trained, one, wanted(path.parent / "out", **more), lambda done, total: None)


def scene() -> np.ndarray:
    """int16 [z, y, x]: a box at one side with a finer one at its corner; no two axes look alike."""
    volume = np.zeros(SHAPE, np.int16)
    volume[1:4, 5:30, 10:22] = DIM
    volume[1:2, 5:9, 10:15] = BRIGHT
    return volume


def oblique_affine(spacing: tuple[float, float, float], degrees: float = 25.0) -> np.ndarray:
    """Voxel (x, y, z) → mm: turned about two axes, shifted."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * spacing, (-31.7, 12.3, 101.9)
    return affine


def places(image: nibabel.Nifti1Image, at_least: int) -> np.ndarray:
    """Positions in mm of voxels of at least a value, sorted."""
    voxels = np.argwhere(np.asarray(image.dataobj) >= at_least)
    mm = nibabel.affines.apply_affine(image.affine, voxels)
    return mm[np.lexsort(mm.round(3).T)]


def stored_in(order: tuple[int, ...], flips: tuple[int, ...]) -> nibabel.Nifti1Image:
    """The scene, its axes stored in another order and direction; at the same place."""
    to = np.array([[axis, flip] for axis, flip in zip(order, flips, strict=True)])
    image = nibabel.Nifti1Image(scene().T, oblique_affine((1.0, 1.0, 3.0)))
    return image.as_reoriented(to)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_oblique_volume_stored_in_any_order_gets_its_mask_on_the_patient(trained, tmp_path, order) -> None:
    for number, flips in enumerate(product((1, -1), repeat=3)):
        source = tmp_path / f"v{number}.nii.gz"
        nibabel.save(stored_in(order, flips), source)
        done = predict(trained, source)
        mask, image = nibabel.load(done.files[0]), nibabel.load(source)
        assert mask.shape == image.shape
        assert np.allclose(mask.affine, image.affine, rtol=0, atol=1e-6), "read by somebody else"
        assert mask.get_data_dtype() == np.uint8
        for value, grey in ((1, DIM), (2, BRIGHT)):
            assert np.allclose(places(mask, value), places(image, grey), atol=1e-4)
        ours, theirs = read_grid(done.files[0]), read_grid(source)
        assert ours.difference(theirs) == ""
        assert np.allclose(ours.spacing_mm, theirs.spacing_mm, rtol=1e-6, atol=0)
        assert np.allclose(ours.frame, theirs.frame, rtol=0, atol=1e-6), "NIfTI has single precision"


@pytest.mark.parametrize(("name", "answer"), [("scan.nrrd", "scan.nrrd"), ("scan.mhd", "scan.mha")])
def test_an_oblique_volume_is_answered_in_its_own_format_on_the_very_grid(
    trained, tmp_path, name, answer
) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(scene())
    affine = oblique_affine((1.0, 1.0, 3.0))
    image.SetSpacing((0.9, 0.8, 3.25))
    image.SetDirection((affine[:3, :3] / (1.0, 1.0, 3.0)).ravel())
    image.SetOrigin((10.5, -20.25, 3.125))
    sitk.WriteImage(image, tmp_path / name)
    done = predict(trained, tmp_path / name)
    assert [path.name for path in done.files] == [answer]
    ours, theirs = read_grid(done.files[0]), read_grid(tmp_path / name)
    assert ours.shape == theirs.shape
    assert np.allclose(ours.spacing_mm + ours.frame, theirs.spacing_mm + theirs.frame, rtol=0, atol=1e-12)
    mask = sitk.ReadImage(done.files[0])
    assert mask.GetSize() == image.GetSize()
    for corner in product(*((0, n - 1) for n in image.GetSize())):
        ours, theirs = mask.TransformIndexToPhysicalPoint(corner), image.TransformIndexToPhysicalPoint(corner)
        assert np.allclose(ours, theirs, atol=1e-9)
    assert np.array_equal(sitk.GetArrayFromImage(mask), np.digitize(scene(), (DIM, BRIGHT)))


def write_series(folder: Path) -> dict[tuple[float, ...], int]:
    """A CT series whose file names do not sort like its slices; grey values by position in mm."""
    folder.mkdir()
    affine = oblique_affine((1.0, 1.0, 3.0))
    across, down, normal = (affine[:3, axis] / step for axis, step in enumerate((1.0, 1.0, 3.0)))
    series, study = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    found = {}
    for z, values in enumerate(scene()):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.SeriesInstanceUID, one.StudyInstanceUID, one.Modality = series, study, "CT"
        one.PatientID, one.PatientName, one.InstanceNumber = "p", "p", 9 - z
        origin = affine[:3, 3] + z * 3.0 * normal
        one.ImagePositionPatient = [f"{v:.8f}"[:16] for v in origin]
        one.ImageOrientationPatient = [f"{v:.10f}" for v in (*across, *down)]
        one.PixelSpacing, one.SliceThickness = [1.0, 1.0], 3.0
        one.Rows, one.Columns, one.SamplesPerPixel = *values.shape, 1
        one.PhotometricInterpretation, one.RescaleIntercept, one.RescaleSlope = "MONOCHROME2", -1000, 1
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.PixelData = values.tobytes()
        one.save_as(folder / f"{(z * 3) % 5}.dcm", enforce_file_format=True)
        for y, x in np.argwhere(values):
            mm = origin + x * across + y * down
            found[tuple(mm.round(3))] = int(values[y, x])
    return found


def test_a_dicom_series_gets_one_nifti_at_its_place(trained, tmp_path) -> None:
    grey = write_series(tmp_path / "series")
    done = predict(trained, tmp_path / "series")
    assert [path.name for path in done.files] == ["series.nii.gz"]
    mask = nibabel.load(done.files[0])
    values = np.asarray(mask.dataobj)
    voxels = np.argwhere(values)
    mm = nibabel.affines.apply_affine(mask.affine, voxels) * (-1, -1, 1)  # nibabel counts to right and back
    assert len(mm) == len(grey) == (scene() > 0).sum()
    where, said = np.array(list(grey)), np.array(list(grey.values()))
    for place, value in zip(mm, values[tuple(voxels.T)], strict=True):
        apart = np.abs(where - place).max(1)
        assert apart.min() < 2e-3
        assert value == 1 + (said[apart.argmin()] == BRIGHT)


def test_pictures_get_pictures_and_no_millimetres(trained, tmp_path) -> None:
    volume = scene().astype(np.uint8)
    Image.fromarray(volume[1]).save(tmp_path / "slice.png")
    first, *more = (Image.fromarray(one) for one in volume)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=more)
    png = predict(trained, tmp_path / "slice.png", probabilities=True)
    assert [str(path.relative_to(tmp_path / "out")) for path in png.files] == [
        "slice.png",
        "probabilities/organ/slice.tif",
        "probabilities/lesion/slice.tif",
    ]
    with Image.open(png.files[0]) as mask:
        assert (mask.mode, mask.size) == ("L", (SIZE, SIZE))
        assert np.array_equal(np.asarray(mask), np.digitize(volume[1], (DIM, BRIGHT)))
    assert png.voxel_ml is None
    tif = predict(trained, tmp_path / "stack.tif")
    assert np.array_equal(read_mask(tif.files[0])[0], np.digitize(volume, (DIM, BRIGHT)))


def test_nested_classes_and_probabilities_by_themselves(trained, tmp_path) -> None:
    nibabel.save(stored_in((2, 0, 1), (1, -1, 1)), tmp_path / "v.nii.gz")
    done = predict(trained, tmp_path / "v.nii.gz", per_class=True, probabilities=True)
    names = [
        f"{kind}/{name}/v.nii.gz" for kind in ("classes", "probabilities") for name in ("organ", "lesion")
    ]
    assert [str(path.relative_to(tmp_path / "out")) for path in done.files] == ["v.nii.gz", *names]
    label, organ, lesion, p_organ, p_lesion = (np.asarray(nibabel.load(path).dataobj) for path in done.files)
    assert np.array_equal(organ, label > 0), "the organ keeps the lesion's voxels"
    assert np.array_equal(lesion, label == 2)
    assert p_organ.dtype == np.float32
    for probability, mask in ((p_organ, organ), (p_lesion, lesion)):
        assert 0 <= probability.min() < probability.max() <= 1
        assert np.array_equal(probability > 0.5, mask)
    assert done.voxels == [organ.sum(), lesion.sum()]
    assert done.shared_voxels == lesion.sum()
    assert done.voxel_ml == pytest.approx(0.003)


def test_with_neighbours_as_channels_nothing_shows_where_one_batch_ends(
    trained, tmp_path, monkeypatch
) -> None:
    """Slices are predicted some at a time. Here a class is where the slice after, or before, is bright."""
    image = trained.run.image.model_copy(update={"neighbours": 1})
    run = trained.run.model_copy(update={"image": image})

    def others(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images[:, :1], images[:, 2:]], 1) - 127

    monkeypatch.setattr(trained.built.model, "tail", others)
    bright = np.array([z % 3 == 0 or z % 8 == 7 for z in range(30)])
    volume = np.tile(bright[:, None, None].astype(np.uint8), (1, SIZE, SIZE))
    nibabel.save(nibabel.Nifti1Image(volume.T, np.diag([1, 1, 3, 1])), tmp_path / "v.nii.gz")
    done = predict(replace(trained, run=run), tmp_path / "v.nii.gz", per_class=True)
    before, after = (np.asarray(nibabel.load(path).dataobj)[0, 0] for path in done.files[1:])
    assert np.array_equal(before, bright[[0, *range(29)]])
    assert np.array_equal(after, bright[[*range(1, 30), 29]])


def test_a_case_that_cannot_be_written_leaves_nothing(trained, tmp_path, monkeypatch) -> None:
    from pfedsam_flower.prediction import writer

    nibabel.save(stored_in((0, 1, 2), (1, 1, 1)), tmp_path / "v.nii.gz")
    real, calls = writer.write_volume, []

    def full(path: Path, values: np.ndarray, grid: object) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(path, values, grid)

    monkeypatch.setattr(writer, "write_volume", full)
    with pytest.raises(StoreError, match="PFS-604 .*No space left"):
        predict(trained, tmp_path / "v.nii.gz", per_class=True)
    assert len(calls) == 3
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_scores_are_of_each_class_whole_and_in_mm(trained, tmp_path) -> None:
    image = stored_in((1, 2, 0), (1, 1, -1))
    nibabel.save(image, tmp_path / "v.nii.gz")
    grey = np.asarray(image.dataobj)
    reference = np.where(grey == BRIGHT, 7, np.where(grey == DIM, 5, 0)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(reference, image.affine), tmp_path / "reference.nii.gz")
    one = Input("v", tmp_path / "v.nii.gz", tmp_path / "reference.nii.gz")
    labels = label_map("organ=5+7,lesion=7", ("organ", "lesion"))
    options = Wanted(tmp_path / "out", False, False, labels, 2.0)
    organ, lesion = predict_case(trained, one, options, lambda done, total: None).scores
    assert (organ.dice, lesion.dice, organ.hd95, lesion.nsd) == (1, 1, 0, 1)
    assert organ.unit == "mm"


def test_a_reference_stored_along_other_axes_gives_the_same_scores(trained, tmp_path) -> None:
    image = stored_in((1, 2, 0), (1, 1, -1))
    nibabel.save(image, tmp_path / "v.nii.gz")
    reference = (np.asarray(image.dataobj) >= DIM).astype(np.uint8)
    turned = nibabel.Nifti1Image(reference, image.affine).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nibabel.save(turned, tmp_path / "reference.nii.gz")
    one = Input("v", tmp_path / "v.nii.gz", tmp_path / "reference.nii.gz")
    options = Wanted(tmp_path / "out", False, False, label_map("organ=1", ("organ", "lesion")), 2.0)
    [organ] = predict_case(trained, one, options, lambda done, total: None).scores
    assert (organ.dice, organ.hd95) == (1, 0)


def test_a_reference_on_another_grid_is_the_case_s_error_and_nothing_is_written(trained, tmp_path) -> None:
    image = stored_in((0, 1, 2), (1, 1, 1))
    nibabel.save(image, tmp_path / "v.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "r.nii.gz")
    one = Input("v", tmp_path / "v.nii.gz", tmp_path / "r.nii.gz")
    with pytest.raises(DataError, match="PFS-202"):
        predict_case(trained, one, wanted(tmp_path / "out"), lambda done, total: None)
    assert not (tmp_path / "out").exists()
