"""Damaged structure sets: a warning that says what, an error that says why; and what could not be shown is kept."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.rt_structures import Drawing, Drawn, Images, box, circle, write_images, write_structure_set
from support.seg_nodes import mask_of, names, segment_ids, segment_named

import dicombridge
from dicombridge.errors import UnreadableError
from dicombridge.structure_set.kept import is_unedited, kept_contours


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return write_images(tmp_path / "ct")


def loaded(tmp_path: Path, scene: Any, images: Images | None, *regions: Drawing, **values: Any) -> Any:
    path = write_structure_set(tmp_path / "rs.dcm", regions, images, **values)
    database = dicombridge.open_folder(tmp_path)
    series = database.seriesForFile(str(path))
    nodes = dicombridge.load(dicombridge.examine(database, [series])[0], scene=scene, database=database)
    database.close()
    return nodes[0]


def good(images: Images) -> Drawn:
    return Drawn(images.lps(box(1, 4, 4, 8, 8)))


TRIANGLE = [[-8, -18, 30], [-4, -18, 30], [-8, -14, 30]]
BAD_CONTOURS = {
    "points that lie": (Drawn(TRIANGLE, declared=99), "Number of Contour Points differs"),
    "points that lie much": (Drawn(TRIANGLE, declared=2_000_000_000), "Number of Contour Points differs"),
    "odd count": (Drawn([], text=b"1\\2\\3\\4\\5\\6\\7\\8\\9\\10", declared=3), "no multiple of three"),
    "not a number": (Drawn([], text=b"1\\2\\nan\\4\\5\\6\\7\\8\\9", declared=3), "are no numbers"),
    "text": (Drawn([], text=b"1\\2\\x\\4\\5\\6\\7\\8\\9", declared=3), "are no numbers"),
    "infinite": (Drawn([], text=b"1\\2\\1e400\\4\\5\\6\\7\\8\\9", declared=3), "are no numbers"),
    "far away": (Drawn([], text=b"1\\2\\1e30\\4\\5\\6\\7\\8\\9", declared=3), "beyond any patient"),
    "no values": (Drawn([], text=b"", declared=0), "less than three points"),
    "one point": (Drawn([[0, -10, 30]]), "less than three points"),
    "two points": (Drawn([[0, -10, 30], [2, -10, 30]]), "less than three points"),
    "unknown type": (Drawn(TRIANGLE, "ROUND"), "Contour Geometric Type is missing or unknown"),
    "bad offset": (Drawn(TRIANGLE, offset=(1, 2)), "Contour Offset Vector"),
}


@pytest.mark.parametrize(("contour", "said"), BAD_CONTOURS.values(), ids=BAD_CONTOURS)
def test_one_bad_contour(
    tmp_path: Path, scene: Any, images: Images, caplog: pytest.LogCaptureFixture, contour: Drawn, said: str
) -> None:
    """It is told; the other one is filled, and the bad one's bytes are kept as well."""
    with caplog.at_level(logging.WARNING):
        node = loaded(
            tmp_path, scene, images, Drawing("one", [good(images), contour]), Drawing("other", [good(images)])
        )
    assert said in caplog.text
    assert "one: " in caplog.text
    assert mask_of(segment_named(node, "one"))[1, 4:8, 4:8].all()
    assert mask_of(segment_named(node, "other")).sum() == 16
    kept = kept_contours(node)[1]
    assert kept.item_bytes in (tmp_path / "rs.dcm").read_bytes()
    assert len(kept.contours) == 2
    assert all(is_unedited(node, one) for one in segment_ids(node))


def test_far_outside_the_images(tmp_path: Path, scene: Any, images: Images, caplog: pytest.LogCaptureFixture) -> None:
    """Not cut off silently, and no grid of kilometres."""
    far = Drawn(np.add(images.lps(box(1, 4, 4, 8, 8)), (90_000, 0, 0)))
    with caplog.at_level(logging.WARNING):
        node = loaded(tmp_path, scene, images, Drawing("far", [good(images), far]))
    assert "1 contours are outside the grid" in caplog.text
    mask = mask_of(segment_named(node, "far"))
    assert mask.shape == (5, 20, 24)
    assert mask.sum() == 16
    assert is_unedited(node, segment_ids(node)[0])


def test_contours_all_over_space_without_images(tmp_path: Path, scene: Any) -> None:
    """The grid stays small: pixels become larger instead."""
    places = [(0, 0, 0), (90_000, 0, 0), (0, 90_000, 55.5), (0, 0, 400)]
    contours = [Drawn(circle(0, 0, 0, 20)[:, ::-1] + place) for place in places]
    node = loaded(tmp_path, scene, None, Drawing("everywhere", contours))
    mask = mask_of(segment_named(node, "everywhere"))
    assert mask.size < 1 << 28


def test_crossing_itself(tmp_path: Path, scene: Any, images: Images) -> None:
    """A figure of eight is two triangles by the even-odd rule."""
    bow = [[1, 4, 4], [1, 12, 12], [1, 4, 12], [1, 12, 4]]
    node = loaded(tmp_path, scene, images, Drawing("bow", [Drawn(images.lps(bow))]))
    mask = mask_of(segment_named(node, "bow"))[1]
    assert mask[8, 4:7].all()
    assert mask[8, 9:12].all()
    assert not mask[5, 7:10].any()
    assert not mask[11, 7:10].any()


def test_numbers_that_contradict_each_other(
    tmp_path: Path, scene: Any, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    """Two regions of one number; contours of a number that is not described."""
    path_regions = [
        Drawing("first", [good(images)], number=5),
        Drawing("second", [], number=5, has_item=False),
        Drawing("third", [good(images)], number=6, structure={"ROINumber": 77}),
    ]
    with caplog.at_level(logging.WARNING):
        node = loaded(tmp_path, scene, images, *path_regions)
    assert "ROI number 5 is given twice" in caplog.text
    assert "contours of ROI number 6, which is not described" in caplog.text
    assert names(node) == ["first", "second", "third", "ROI 6"]
    assert [int(mask_of(segment_named(node, name)).sum()) for name in names(node)] == [16, 0, 0, 16]


def test_nothing_at_all(tmp_path: Path, scene: Any, images: Images) -> None:
    node = loaded(tmp_path, scene, images)
    assert names(node) == []


def test_cut_short(tmp_path: Path, scene: Any, images: Images) -> None:
    path = write_structure_set(tmp_path / "rs.dcm", [Drawing("one", [good(images)])], images)
    content = path.read_bytes()
    for place in (len(content) - 3, len(content) * 3 // 4, len(content) // 2):
        path.write_bytes(content[:place])
        with pytest.raises(UnreadableError, match=r"rs\.dcm"):
            dicombridge.load(dicombridge.Loadable(files=[str(path)], name="rs", kind="RTSTRUCT"), scene=scene)
        assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_million_contours(tmp_path: Path, scene: Any, images: Images) -> None:
    """All on one slice: time and memory grow with the file, not faster."""
    corners = images.lps(box(1, 4, 4, 8, 8))
    text = "\\".join(f"{value:g}" for value in corners.ravel()).encode()
    contours = [Drawn(corners, text=text)] * 3 + [Drawn(np.add(corners, (0, 0, 2)))]
    many = [Drawn([], text=text, declared=4)] * 1_000_000
    start = time.process_time()
    node = loaded(tmp_path, scene, images, Drawing("many", many), Drawing("few", contours))
    assert time.process_time() - start < 60
    assert mask_of(segment_named(node, "many")).sum() == 16  # one contour, so many times
    assert mask_of(segment_named(node, "few")).sum() == 32
    assert len(kept_contours(node)[1].contours) == 1_000_000


def test_many_points_and_lines_stay_contours(
    tmp_path: Path, scene: Any, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    """Thousands of markups would stop Slicer; none is lost all the same."""
    line = images.lps([[1, 3, 3], [2, 5, 9], [3, 8, 12]])
    with caplog.at_level(logging.WARNING):
        node = loaded(tmp_path, scene, images, Drawing("lines", [Drawn(line, "OPEN_NONPLANAR")] * 300))
    assert "too many for markups" in caplog.text
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsCurveNode") == 0
    kept = kept_contours(node)[1].contours
    assert len(kept) == 300
    np.testing.assert_allclose(kept[299][1], line)
