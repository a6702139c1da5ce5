"""Mask -> structure set -> mask, and structure set -> nodes -> structure set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance import faults
from support.rt_peers import contours_by_name, dice
from support.rt_set_exports import OBLIQUE, SHAPE, disc, loaded, masks_of_node, study
from support.rt_structures import AXIAL, Drawing, Drawn, write_structure_set
from support.scenes import saved_and_read
from support.seg_exports import under_transform
from support.seg_nodes import image_of, names, segment_named, tag
from support.volumes import array_of_image

import dicombridge
from dicombridge.part10 import elements, items, read_layout
from dicombridge.structure_set.encoding import implicit

REAL = {
    "rt_utils": ("rt/rt_utils/rt.dcm", "rt/rt_utils"),
    "innereye": ("rt/innereye/rtstruct_mod.dcm", "rt/innereye"),
    "eclipse": ("rt/eclipse_breast/rtss.dcm", "rt/eclipse_breast"),
    "pinnacle": ("rt/pinnacle/RTSTRUCT.dcm", "rt/pinnacle"),
    "raystation": ("rt/raystation_proton/rtstruct.dcm", "rt/raystation_proton"),
    "points": ("rt/pydicom/rtstruct.dcm", "rt/pydicom/rtstruct.dcm"),
    "mim": ("rt/sts_002_mim/ct/rtstruct.dcm", "rt/sts_002_mim/ct"),
}


def contour_items(path: Path) -> list[list[bytes]]:
    """Items of the Contour Sequence of each region, byte by byte, all in implicit VR so that they compare."""
    content = path.read_bytes()
    layout = read_layout(content)
    span = layout.elements[0x30060039]
    found = []
    for start, stop in items(content, span.start, span.stop, layout.implicit_vr):
        for element in elements(content, start, stop, layout.implicit_vr):
            if element.tag == 0x30060040:
                parts = items(content, element.start, element.stop, layout.implicit_vr)
                found.append([implicit(content[a:b], layout.implicit_vr) for a, b in parts])
    return found


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("holes", ["keyhole", "xor"])
@pytest.mark.parametrize("contours", ["smooth", "pixel"])
def test_masks_come_back(contours: str, holes: str, orientation: tuple[float, ...], tmp_path: Path) -> None:
    """Not only nearly: the centres of the same pixels lie within smooth contours too."""
    one = study(tmp_path, orientation=orientation)
    path = one.export(tmp_path / "out", contours=contours, holes=holes)
    masks = masks_of_node(loaded(path, one)[0], one.images)
    assert list(masks) == list(one.masks)
    for name, mask in one.masks.items():
        assert np.array_equal(masks[name], mask), name


def test_two_hundred_regions(tmp_path: Path) -> None:
    """With names of every kind; what does not touch shares a label layer, so memory does not grow with regions."""
    masks = {}
    for number in range(200):
        name = ("Größe", "日本", "a^b=c", "A & B")[number % 4] + f" {number}"
        masks[name] = np.zeros(SHAPE, np.bool_)
        row, column = divmod(number, 20)
        masks[name][2:4, 4 * row : 4 * row + 3, 2 * column : 2 * column + 2] = True
    one = study(tmp_path, masks)
    path = one.export(tmp_path / "out")
    assert faults(path) == []
    node = loaded(path, one)[0]
    found = masks_of_node(node, one.images)
    assert list(found) == list(masks)
    assert all(np.array_equal(found[name], mask) for name, mask in masks.items())
    assert node.GetSegmentation().GetNumberOfLayers() == 1


@pytest.mark.parametrize(("tolerance", "least"), [(0.1, 0.995), (0.5, 0.97)])
def test_a_tolerance_costs_little(tolerance: float, least: float, tmp_path: Path) -> None:
    one = study(tmp_path, {"Disc": np.repeat(disc(17.3)[None], 6, axis=0)})
    exact = one.export(tmp_path / "out", contours="pixel")
    path = one.export(tmp_path / "out", tolerance_mm=tolerance)
    assert path.stat().st_size < 0.8 * exact.stat().st_size
    assert dice(masks_of_node(loaded(path, one)[0], one.images)["Disc"], one.masks["Disc"]) >= least


@pytest.mark.parametrize("name", REAL)
def test_unedited_contours_come_back_to_the_byte(name: str, data: Path, tmp_path: Path) -> None:
    file, folder = (data / part for part in REAL[name])
    with dicombridge.open_folder(folder) as database:
        nodes = dicombridge.load(file, database=database)
        (path,) = dicombridge.export(nodes, tmp_path, kind="RTSTRUCT", database=database)
    assert contour_items(path) == contour_items(file)


def drawings() -> list[Drawing]:
    square = [(2.0, 2.0), (2.0, 8.0), (9.0, 8.0), (9.0, 2.0)]
    return [
        Drawing("Square", [Drawn(square)], colour=(10, 20, 30), observation={"RTROIInterpretedType": "ORGAN"}),
        Drawing("Other", [Drawn([(10.0, 10.0), (10.0, 15.0), (15.5, 12.0)])], colour=(200, 0, 7)),
        Drawing("Spot", [Drawn([(3.0, 4.0)], "POINT")], observation={"RTROIInterpretedType": "MARKER"}),
        Drawing("Wire", [Drawn([(1.0, 1.0), (4.0, 4.0), (4.0, 9.0)], "OPEN_PLANAR")]),
    ]


@pytest.fixture
def drawn(tmp_path: Path) -> Any:
    """A study with a structure set of hand-made contours."""
    one = study(tmp_path, {"unused": np.zeros((5, 20, 24), bool)}, spacing=(1.0, 1.0))
    regions = drawings()
    for region in regions:
        for contour in region.contours:
            contour.points = one.images.lps([(2.0, *point) for point in contour.points])
            contour.image = one.images.uids[2]
    one.path = write_structure_set(tmp_path / "set.dcm", regions, one.images)  # type: ignore[attr-defined]
    return one


def test_only_the_edited_region_is_drawn_anew(drawn: Any, tmp_path: Path) -> None:
    nodes = loaded(drawn.path, drawn)
    image = image_of(segment_named(nodes[0], "Other"))
    labels = array_of_image(image)
    labels[labels == segment_named(nodes[0], "Other").GetLabelValue()] = 0
    labels[2, 14, 10:12] = segment_named(nodes[0], "Other").GetLabelValue()
    image.Modified()
    path = drawn.export(tmp_path / "out", nodes)
    before, after = contour_items(drawn.path), contour_items(path)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]
    mask = np.zeros((5, 20, 24), bool)
    mask[2, 14, 10:12] = True
    again = masks_of_node(loaded(path, drawn)[0], drawn.images, mask.shape)
    assert np.array_equal(again["Other"], mask)


def test_unedited_is_still_unedited_in_a_saved_scene(drawn: Any, tmp_path: Path) -> None:
    scene = dicombridge.new_scene()
    dicombridge.load(drawn.path, scene=scene, database=drawn.database)
    again = saved_and_read(scene, tmp_path)
    nodes = [again.GetFirstNodeByClass("vtkMRMLSegmentationNode")]
    count = again.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")
    nodes += [again.GetNthNodeByClass(number, "vtkMRMLMarkupsNode") for number in range(count)]
    assert contour_items(drawn.export(tmp_path / "out", nodes)) == contour_items(drawn.path)


def test_a_changed_colour_or_name_leaves_contours_as_they_are(drawn: Any, tmp_path: Path) -> None:
    nodes = loaded(drawn.path, drawn)
    segment_named(nodes[0], "Square").SetColor(1.0, 0.0, 0.5)
    segment_named(nodes[0], "Square").SetName("Quadrat")
    path = drawn.export(tmp_path / "out", nodes)
    assert contour_items(path) == contour_items(drawn.path)
    again = loaded(path, drawn)[0]
    assert names(again)[0] == "Quadrat"
    assert [round(255 * part) for part in segment_named(again, "Quadrat").GetColor()] == [255, 0, 128]


def test_given_options_draw_all_anew(drawn: Any, tmp_path: Path) -> None:
    path = drawn.export(tmp_path / "out", loaded(drawn.path, drawn), contours="pixel")
    before, after = contours_by_name(drawn.path), contours_by_name(path)
    assert len(after["Square"][0][1]) == 4
    assert not np.array_equal(after["Square"][0][1], before["Square"][0][1])
    assert {name: [kind for kind, _ in of_name] for name, of_name in after.items()} == {
        name: [kind for kind, _ in of_name] for name, of_name in before.items()
    }


def test_a_moved_segmentation_is_drawn_where_it_is(drawn: Any, tmp_path: Path) -> None:
    nodes = loaded(drawn.path, drawn)
    shift = np.eye(4)
    shift[:3, 3] = -3.0, -2.0, 2.5  # RAS: three columns and two rows farther, one slice up
    under_transform(nodes[0], shift)
    path = drawn.export(tmp_path / "out", nodes[:1])
    before = masks_of_node(loaded(drawn.path, drawn)[0], drawn.images, (5, 20, 24))["Square"]
    after = masks_of_node(loaded(path, drawn)[0], drawn.images, (5, 20, 24))["Square"]
    assert np.array_equal(after[3, 2:, 3:], before[2, :-2, :-3])
    assert after.sum() == before.sum() > 0


def test_moved_points_are_written_where_they_are(drawn: Any, tmp_path: Path) -> None:
    nodes = loaded(drawn.path, drawn)
    (spot,) = [node for node in nodes if node.IsA("vtkMRMLMarkupsFiducialNode")]
    position = [0.0, 0.0, 0.0]
    spot.GetNthControlPointPositionWorld(0, position)
    spot.SetNthControlPointPositionWorld(0, position[0] - 1.5, position[1], position[2])
    path = drawn.export(tmp_path / "out", nodes)
    before, after = contours_by_name(drawn.path), contours_by_name(path)
    assert after["Spot"][0][0] == "POINT"
    assert np.allclose(after["Spot"][0][1] - before["Spot"][0][1], [[1.5, 0, 0]], atol=1e-6)
    assert np.array_equal(after["Wire"][0][1], before["Wire"][0][1])


def test_descriptions_come_back(data: Path, tmp_path: Path) -> None:
    """Interpreted types, labels, algorithms, physical properties: all that the planning system wrote."""
    file, folder = (data / part for part in REAL["raystation"])
    with dicombridge.open_folder(folder) as database:
        nodes = dicombridge.load(file, database=database)
        (path,) = dicombridge.export(nodes, tmp_path, kind="RTSTRUCT", database=database)
        again = dicombridge.load(path, database=database)
    tags = ("RTROIInterpretedType", "ROIObservationLabel", "ROIGenerationAlgorithm", "ROIInterpreter")
    assert names(nodes[0]) == names(again[0])
    for name in names(nodes[0]):
        one, other = segment_named(nodes[0], name), segment_named(again[0], name)
        for keyword in tags:
            assert tag(one, f"DICOMBridge.{keyword}") == tag(other, f"DICOMBridge.{keyword}")
        assert tag(one, "DICOMBridge.ROIPhysicalProperties") == tag(other, "DICOMBridge.ROIPhysicalProperties")
        assert one.GetColor() == other.GetColor()
