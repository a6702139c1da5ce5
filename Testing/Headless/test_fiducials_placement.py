"""Fiducials that have pixel coordinates alone, placed through the plane of their image.

The expected points are computed here anew, from the formula of PS3.3 C.7.6.2.1.1 with pixel coordinates whose origin is
the corner of the first pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from support import fiducials as fid
from support.fiducials import Mark, MarkSet, Pixels, labels_of, lps_of
from support.rt_structures import write_images

import dicombridge
from dicombridge.errors import MissingReferenceError, UnreadableError

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
ROW, COLUMN = fid.oblique()
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "decubitus-left": (0, 1, 0, -1, 0, 0),
    "prone-feet-first": (1, 0, 0, 0, -1, 0),
    "oblique": (*ROW, *COLUMN),
}
PAIRS = [(0.5, 0.5), (0.0, 0.0), (24.0, 20.0), (3.25, 17.125), (11.1, 0.7)]


def expected(image: Any, pairs: Any) -> NDArray[np.float64]:
    """Point by point, by the matrix of equation C.7.6.2.1-1 with a column and a row index that begin at the centre."""
    position = [float(value) for value in image.ImagePositionPatient]
    cosines = [float(value) for value in image.ImageOrientationPatient]
    between_rows, between_columns = (float(value) for value in image.PixelSpacing)
    points = []
    for column, row in pairs:
        i, j = float(np.float32(column)) - 0.5, float(np.float32(row)) - 0.5
        points.append(
            [
                cosines[axis] * between_columns * i + cosines[axis + 3] * between_rows * j + position[axis]
                for axis in range(3)
            ]
        )
    return np.array(points)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_points_lie_where_the_image_says(scene: Any, tmp_path: Path, name: str) -> None:
    images = write_images(
        tmp_path / "images", origin=(-31.5, 12.25, 77.125), orientation=ORIENTATIONS[name], spacing=(0.8, 1.3), step=2.5
    )
    marks = [
        Mark(f"{n}{m}", pixels=[Pixels(uid, [pair])])
        for n, uid in enumerate(images.uids)
        for m, pair in enumerate(PAIRS)
    ]
    fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet(marks, frame="", images=[(CLASSES["CT"], images.uids[0])])])
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(tmp_path / "f" / "f.dcm", scene=scene, database=database)
    files = [pydicom.dcmread(path) for path in sorted((tmp_path / "images").iterdir())]
    wanted = np.concatenate([expected(file, PAIRS) for file in files])
    assert np.abs(lps_of(nodes[0]) - wanted).max() < 1e-6
    assert labels_of(nodes[0])[:2] == ["00", "01"]
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(nodes[0])
    assert hierarchy.GetItemAttribute(item, "DICOM.FrameOfReferenceUID") == images.frame_of_reference


def test_a_line_goes_from_one_image_to_another(scene: Any, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", spacing=(0.5, 2.0))
    fid.write_fiducials(tmp_path / "f" / "f.dcm", [fid.in_images(images)])
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(tmp_path / "f" / "f.dcm", scene=scene, database=database)
    line = nodes[1]
    assert line.GetName() == "TRACK"
    wanted = images.lps([(0, 3.0 - 0.5, 2.0 - 0.5), (4, 7.0 - 0.5, 10.25 - 0.5)])
    np.testing.assert_allclose(lps_of(line), wanted, atol=1e-9)


@pytest.mark.parametrize("frame", [1, 2, 3])
def test_frames_of_a_multi_frame_image(scene: Any, tmp_path: Path, frame: int) -> None:
    uid, positions = fid.write_multi_frame(tmp_path / "images", "1.2.3.44")
    mark = Mark("M", pixels=[Pixels(uid, [(7.25, 2.5)], frame, fid.ENHANCED_MR)])
    fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet([mark], frame="", images=[(fid.ENHANCED_MR, uid)])])
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(tmp_path / "f" / "f.dcm", scene=scene, database=database)
    wanted = positions[frame - 1] + ROW * 0.5 * 6.75 + COLUMN * 1.5 * 2.0
    assert np.abs(lps_of(nodes[0])[0] - wanted).max() < 1e-6


@pytest.mark.parametrize(
    ("frame", "told"),
    [(None, "in which of the 3 frames"), (9, "no frame 9"), ((1, 2), "several frames")],
)
def test_frames_that_say_not_where(scene: Any, tmp_path: Path, frame: Any, told: str) -> None:
    uid, _ = fid.write_multi_frame(tmp_path / "images", "1.2.3.44")
    mark = Mark("M", pixels=[Pixels(uid, [(7.25, 2.5)], frame, fid.ENHANCED_MR)])
    fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet([mark], frame="", images=[(fid.ENHANCED_MR, uid)])])
    with dicombridge.open_folder(tmp_path) as database, pytest.raises(UnreadableError, match=told):
        dicombridge.load(tmp_path / "f" / "f.dcm", scene=scene, database=database)


def test_patient_coordinates_go_before_pixels(scene: Any, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    mark = Mark("BOTH", points=[(1, 2, 3)], pixels=[Pixels(images.uids[0], [(1, 1)])])
    fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet([mark], frame=images.frame_of_reference)])
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(tmp_path / "f" / "f.dcm", scene=scene, database=database)
    np.testing.assert_array_equal(lps_of(nodes[0]), [(1, 2, 3)])


def test_without_the_images_the_others_load(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_images(tmp_path / "images")
    sets = [fid.in_images(images), MarkSet([Mark("A", points=[(1, 2, 3)])])]
    path = fid.write_fiducials(tmp_path / "f" / "f.dcm", sets)
    nodes = dicombridge.load(path, scene=scene)
    assert [labels_of(node) for node in nodes] == [["A"]]
    assert "the image in which it lies is not in the database" in caplog.text
    assert "P1" in caplog.text
    assert "TRACK" in caplog.text


def test_without_the_images_and_others_the_missing_one_is_named(scene: Any, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    path = fid.write_fiducials(tmp_path / "f" / "f.dcm", [fid.in_images(images)])
    with pytest.raises(MissingReferenceError, match=rf"f\.dcm.*not in the database.*{images.uids[1]}.*import"):
        dicombridge.load(path, scene=scene)
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0


def test_an_image_without_a_place(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_images(tmp_path / "images")
    first = tmp_path / "images" / "CT000.dcm"
    dataset = pydicom.dcmread(first)
    del dataset.ImagePositionPatient
    dataset.save_as(first)
    marks = [Mark("P", pixels=[Pixels(images.uids[0], [(1, 1)])]), Mark("Q", pixels=[Pixels(images.uids[1], [(1, 1)])])]
    fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet(marks, frame="", images=[(CLASSES["CT"], images.uids[0])])])
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(tmp_path / "f" / "f.dcm", scene=scene, database=database)
    assert labels_of(nodes[0]) == ["Q"]
    assert "its header lacks position" in caplog.text


def test_pixels_outside_of_the_image_are_told(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_images(tmp_path / "images", shape=(2, 20, 24), spacing=(2.0, 0.5))
    pairs = {"IN": (24.0, 20.0), "RIGHT": (24.5, 1.0), "BELOW": (1.0, 21.0), "ABOVE": (1.0, -0.5)}
    marks = [Mark(name, pixels=[Pixels(images.uids[0], [pair])]) for name, pair in pairs.items()]
    fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet(marks, frame="", images=[(CLASSES["CT"], images.uids[0])])])
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(tmp_path / "f" / "f.dcm", scene=scene, database=database)
    assert labels_of(nodes[0]) == list(pairs)
    np.testing.assert_allclose(lps_of(nodes[0]), images.lps([(0, r - 0.5, c - 0.5) for c, r in pairs.values()]))
    (told,) = [line for line in caplog.messages if "outside of the image" in line]
    assert [name for name in pairs if f"({name})" in told] == ["RIGHT", "BELOW", "ABOVE"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda part: setattr(part, "GraphicData", [1.0, 2.0, 3.0]), "are not pairs"),
        (lambda part: part.ReferencedImageSequence.clear(), "name 0 images instead of one"),
        (lambda part: setattr(part, "GraphicData", [float("inf"), 2.0]), "not finite"),
        (lambda part: delattr(part, "GraphicData"), "no position"),
    ],
)
def test_odd_pixel_coordinates(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Any, told: str
) -> None:
    images = write_images(tmp_path / "images")
    path = fid.write_fiducials(tmp_path / "f" / "f.dcm", [fid.in_images(images)])
    dataset = pydicom.dcmread(path)
    change(dataset.FiducialSetSequence[0].FiducialSequence[0].GraphicCoordinatesDataSequence[0])
    dataset.save_as(path)
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(path, scene=scene, database=database)
    assert labels_of(nodes[0]) == ["P2"]
    assert told in caplog.text
