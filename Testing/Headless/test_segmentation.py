"""Segmentations that other programs wrote, loaded, against what highdicom, dcmqi, pydicom and the truth say of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from support.items import read
from support.nrrd import read_nrrd
from support.seg_nodes import (
    assert_segment_is,
    frames_of,
    image_of,
    lps_of_ijk,
    points_by_segment,
    points_of_mask,
    segment_ids,
)
from support.volumes import array_of_image, lps_of_volume

import dicombridge
from dicombridge.errors import DicomBridgeError

# Every segmentation of patient images in the test data, and the folder of its source images ("": not public).
OBJECTS = {
    "seg/dcmqi_23x38x3/label.seg": "seg/dcmqi_23x38x3/ct",
    "seg/dcmqi_24x38x3/sparse-labelmap-ppv5.dcm": "seg/dcmqi_24x38x3/ct",
    "seg/dcmqi_liver/liver.dcm": "seg/dcmqi_liver/ct",
    "seg/dcmqi_liver/liver_deflate.dcm": "seg/dcmqi_liver/ct",
    "seg/dcmqi_liver/liver_expb.dcm": "seg/dcmqi_liver/ct",
    "seg/dcmqi_liver/liver_nonbyte_aligned.dcm": "seg/dcmqi_liver/ct",
    "seg/dcmqi_liver/liver_rle.dcm": "seg/dcmqi_liver/ct",
    "seg/dcmqi_liver/partial_overlaps.dcm": "seg/dcmqi_liver/ct",
    "seg/highdicom/seg_image_ct_binary.dcm": "seg/highdicom/source_ct",
    "seg/highdicom/seg_image_ct_binary_overlap.dcm": "seg/highdicom/source_ct",
    "seg/highdicom/seg_image_ct_true_fractional.dcm": "seg/highdicom/source_ct",
    "seg/qin_headneck_0024/tumor_User1_Manual_Trial1.dcm": "seg/qin_headneck_0024/pet",
    "seg/ucsf_breast_06/seg_fractional_occupancy.dcm": "seg/ucsf_breast_06/mr",
    "sr/qiicr_headneck_0003/seg.dcm": "",
}

# What pydicom 3.0 cannot decode is the same picture as this file.
SAME_PIXELS = {"liver_deflate.dcm": "liver.dcm", "liver_rle.dcm": "liver.dcm"}

# Pixel values of label maps that are no segment: 5 is the padding, 0 is described as background.
BACKGROUNDS = {"sparse-labelmap-ppv5.dcm": {0, 5}}

# Segments that share no voxel share a layer.
LAYERS = {"partial_overlaps.dcm": 3, "seg_image_ct_binary_overlap.dcm": 2}

# highdicom: single bits in RLE or deflated, and big endian, are beyond its reader.
UNUSUAL = ["liver_deflate.dcm", "liver_rle.dcm", "liver_expb.dcm"]
# And it wants the segment number in each frame, which the last one shares.
NOT_BY_HIGHDICOM = {*UNUSUAL, "seg_fractional_occupancy.dcm"}

# dcmqi: those have no frames that it decodes; FRACTIONAL it takes for label values; and this one has no SliceThickness
# that fits its positions.
NOT_BY_DCMQI = {
    "liver_deflate.dcm": "no decoder",
    "liver_rle.dcm": "no decoder",
    "seg_image_ct_true_fractional.dcm": "grey values are read as labels",
    "seg_fractional_occupancy.dcm": "grey values are read as labels",
}

_images: dict[Path, Any] = {}


def source_database(data: Path, source: str) -> Any:
    """The source images as a database, indexed once."""
    folder = data / source
    if folder not in _images:
        _images[folder] = dicombridge.open_folder(folder)
    return _images[folder]


def load(data: Path, name: str, with_source: bool) -> list[Any]:
    database = source_database(data, OBJECTS[name]) if with_source else None
    return dicombridge.load(data / name, scene=dicombridge.new_scene(), database=database)


def frames(path: Path) -> NDArray[Any]:
    return frames_of(read(path.parent / SAME_PIXELS.get(path.name, path.name)))


def background_of(path: Path) -> set[int]:
    return BACKGROUNDS.get(path.name, {0})


@pytest.mark.parametrize(
    ("name", "with_source"),
    [(name, False) for name in OBJECTS] + [(name, True) for name, source in OBJECTS.items() if source],
)
def test_voxels_lie_where_the_frames_say(data: Path, name: str, with_source: bool) -> None:
    """All voxels of all segments, at the positions that the functional groups give, within 1e-5 mm."""
    node = load(data, name, with_source)[0]
    dataset = read(data / name)
    expected = points_by_segment(dataset, frames(data / name))
    if dataset.SegmentationType == "LABELMAP":
        for value in background_of(data / name):
            expected.pop(value, None)
    assert segment_ids(node) == [f"Segment_{number}" for number in expected]
    # The tumour's positions are those of its images, rounded; it is put where the images are.
    tolerance = 1e-4 if with_source and "qin_headneck" in name else 1e-5
    for number, points in expected.items():
        assert_segment_is(node, number, points, tolerance)
    assert node.GetSegmentation().GetNumberOfLayers() == LAYERS.get(Path(name).name, 1)
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


@pytest.mark.parametrize("change", ["moved", "missing", "added"])
def test_a_wrong_voxel_is_noticed(data: Path, change: str) -> None:
    """The comparison that all tests here rely on can fail."""
    name = "seg/highdicom/seg_image_ct_binary.dcm"
    node = load(data, name, False)[0]
    points = points_by_segment(read(data / name))[1].copy()
    assert_segment_is(node, 1, points)
    if change == "moved":
        points[7, 2] += 1e-4
    elif change == "missing":
        points = np.vstack([points, points[-1:] + np.array([0, 0, 500])])
    else:
        points = points[1:]
    with pytest.raises(AssertionError):
        assert_segment_is(node, 1, points)


@pytest.mark.parametrize("name", [name for name, source in OBJECTS.items() if source])
def test_grid_is_the_whole_one_of_the_images(data: Path, name: str) -> None:
    """Also where the segmentation covers only a few slices, or a part of each slice."""
    node = load(data, name, True)[0]
    image = image_of(node.GetSegmentation().GetSegment(segment_ids(node)[0]))
    volumes = dicombridge.load(data / OBJECTS[name], scene=dicombridge.new_scene())
    fitting = [
        volume
        for volume in volumes
        if volume.GetImageData().GetDimensions() == image.GetDimensions()
        and np.abs(lps_of_volume(volume) - lps_of_ijk(image)).max() < 1e-6
    ]
    if name.endswith("overlap.dcm"):
        # Images 202.5 mm apart are no volume; the frames lie on a grid of their own, which has that gap.
        assert not fitting
        assert image.GetDimensions() == (16, 16, 164 + 1)
    else:
        assert fitting


def highdicom_points(path: Path) -> dict[int, NDArray[np.float64]]:
    import highdicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = highdicom.seg.segread(path)
        found = {}
        for number in opened.segment_numbers:
            if number in background_of(path) and opened.SegmentationType == "LABELMAP":
                continue
            volume = opened.get_volume(
                segment_numbers=[number], rescale_fractional=True, allow_missing_positions=True, rtol=0.05
            )
            affine = np.asarray(volume.affine)[:, [2, 1, 0, 3]]
            found[int(number)] = points_of_mask(np.asarray(volume.array)[..., 0] >= 0.5, affine)
    return found


@pytest.mark.parametrize("name", [name for name in OBJECTS if Path(name).name not in NOT_BY_HIGHDICOM])
def test_voxels_equal_highdicoms_reading(data: Path, name: str) -> None:
    node = load(data, name, False)[0]
    theirs = highdicom_points(data / name)
    assert len(theirs) == node.GetSegmentation().GetNumberOfSegments()
    for number, points in theirs.items():
        assert_segment_is(node, number, points, 1e-5)


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_encodings_hold_the_same_voxels(data: Path, name: str) -> None:
    """What these two decode, decoded here by hand, is the plain file's picture."""
    path = data / "seg/dcmqi_liver" / name
    plain = frames_of(read(path.with_name("liver.dcm")))
    if name == "liver_deflate.dcm":
        dataset = read(path)
        inflated = [zlib.decompress(frame, -15) for frame in generate_frames(dataset.PixelData, number_of_frames=3)]
        bits = np.unpackbits(np.frombuffer(b"".join(inflated), np.uint8), bitorder="little")
        np.testing.assert_array_equal(bits.reshape(plain.shape), plain)
    node = load(data, f"seg/dcmqi_liver/{name}", False)[0]
    np.testing.assert_array_equal(array_of_image(image_of(node.GetSegmentation().GetNthSegment(0))), plain)


def dcmqi_points(path: Path, folder: Path) -> dict[int, NDArray[np.float64]]:
    """Label values of dcmqi's NRRD files and their voxels."""
    program = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.fail("segimage2itkimage (pip install dcmqi) is not there")
    command = [program, "--inputDICOM", str(path), "--outputDirectory", str(folder), "--outputType", "nrrd"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[int, NDArray[np.float64]] = {}
    for file in sorted(folder.glob("*.nrrd")):
        voxels, to_lps = read_nrrd(file)
        for label in set(np.unique(voxels).tolist()) - background_of(path) - {0}:
            assert label not in found, "dcmqi puts each segment in one file"
            found[label] = points_of_mask(voxels == label, to_lps)
    return found


@pytest.mark.parametrize("name", [name for name in OBJECTS if Path(name).name not in NOT_BY_DCMQI])
def test_voxels_equal_dcmqis_reading(data: Path, name: str, tmp_path: Path) -> None:
    node = load(data, name, False)[0]
    theirs = dcmqi_points(data / name, tmp_path)
    assert theirs
    for number, points in theirs.items():
        assert_segment_is(node, number, points, 0.02)
    for segment in segment_ids(node):
        number = int(segment.split("_")[1])
        if number not in theirs:
            assert_segment_is(node, number, np.empty((0, 3)))


TRUTH = {
    "seg/dcmqi_liver/liver.dcm": ["seg/dcmqi_liver/truth/liver_seg.nrrd"],
    # Slices without a frame have the padding value 5 there.
    "seg/dcmqi_24x38x3/sparse-labelmap-ppv5.dcm": ["seg/dcmqi_24x38x3/truth/sparse_labelmap_ppv5_seg.nrrd"],
    "seg/dcmqi_liver/partial_overlaps.dcm": [
        f"seg/dcmqi_liver/truth/partial_overlaps-{number}.nrrd" for number in (1, 2, 3)
    ],
}


@pytest.mark.parametrize("name", TRUTH)
def test_voxels_equal_the_published_truth(data: Path, name: str) -> None:
    """The label maps that the objects were made from; segments are told by their voxels, not by their number."""
    node = load(data, name, True)[0]
    truth = []
    for file in TRUTH[name]:
        voxels, to_lps = read_nrrd(data / file)
        labels = set(np.unique(voxels).tolist()) - background_of(data / name)
        truth += [points_of_mask(voxels == label, to_lps) for label in labels]
    numbers = [int(segment.split("_")[1]) for segment in segment_ids(node)]
    assert len(truth) == len(numbers)
    unmatched = set(numbers)
    for points in truth:
        matches = [number for number in sorted(unmatched) if _is(node, number, points)]
        assert matches, f"no segment has these {len(points)} voxels"
        unmatched.remove(matches[0])


def _is(node: Any, number: int, points: NDArray[np.float64]) -> bool:
    try:
        assert_segment_is(node, number, points, 0.01)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", [name for name, source in OBJECTS.items() if source])
def test_examine_names_all_images_of_the_series(data: Path, name: str) -> None:
    """All of them, because a volume of the referenced slices alone is not what a person wants (plugins D3)."""
    files = [data / name, *(path for path in (data / OBJECTS[name]).iterdir() if path.is_file())]
    from dicombridge.database import open_files

    with open_files(files) as database:
        (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "SEG"]
        header = read(data / name)
        series = [uid for uid in _series(database) if uid != header.SeriesInstanceUID]
        assert len(series) == 1
        assert set(loadable.referencedInstanceUIDs) == set(database.instancesForSeries(series[0]))
    assert loadable.warning == ""
    assert loadable.selected
    assert loadable.confidence == 0.97
    for item in header.SegmentSequence:
        assert str(item.SegmentLabel) in loadable.tooltip


def _series(database: Any) -> list[str]:
    studies = [study for patient in database.patients() for study in database.studiesForPatient(patient)]
    return [series for study in studies for series in database.seriesForStudy(study)]


def test_examine_says_that_images_are_missing(data: Path) -> None:
    with dicombridge.open_folder(data / "seg/highdicom/seg_image_ct_binary.dcm") as database:
        (loadable,) = dicombridge.examine(database)
    header: Dataset = read(data / "seg/highdicom/seg_image_ct_binary.dcm")
    named = {str(one.ReferencedSOPInstanceUID) for one in header.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert set(loadable.referencedInstanceUIDs) == named
    assert "not in the database" in loadable.warning


def test_everything_at_once(data: Path, scene: Any) -> None:
    """A folder with images and segmentation, as somebody would do it first."""
    nodes = dicombridge.load(data / "seg/dcmqi_23x38x3", scene=scene)
    assert sorted(node.GetClassName() for node in nodes) == [
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLSegmentationNode",
    ]
    segmentation = next(node for node in nodes if node.IsA("vtkMRMLSegmentationNode"))
    assert segmentation.GetNodeReference("referenceImageGeometryRef") is not None


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("", {}, "neither a file nor a folder"),  # not the working directory
        (["some.dcm"], {}, "are not loadables"),
        ("seg/highdicom/seg_image_ct_binary.dcm", {"treshold": 0.3}, "Unknown option treshold of load; there are"),
    ],
)
def test_what_cannot_be_meant(data: Path, scene: Any, what: Any, options: dict[str, Any], message: str) -> None:
    before = scene.GetNumberOfNodes()
    with pytest.raises(DicomBridgeError, match=message):
        dicombridge.load(data / what if isinstance(what, str) and what else what, scene=scene, **options)
    assert scene.GetNumberOfNodes() == before
