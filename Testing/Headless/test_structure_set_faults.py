"""Faults of other importers (SlicerRT, dcmrtstruct2nii, OHIF) that this one must not have: one test each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.rt_structures import Drawing, Drawn, box, circle, write_images, write_structure_set
from support.seg_nodes import mask_of, names, segment_named, tag

import dicombridge
from dicombridge.loadable import Loadable
from dicombridge.structure_set.kept import kept_contours
from dicombridge.structure_set.nodes import PLANAR_CONTOUR


def loaded(folder: Path, scene: Any) -> list[Any]:
    database = dicombridge.open_folder(folder)
    found = [one for one in dicombridge.examine(database) if one.kind == "RTSTRUCT"]
    nodes = dicombridge.load(found, scene=scene, database=database)
    database.close()
    return nodes


def test_references_of_contours_are_gathered(tmp_path: Path, scene: Any) -> None:
    """SlicerRT's inverted test never gathers them: here they are the only references that there are."""
    images = write_images(tmp_path / "ct")
    region = Drawing("one", [Drawn(images.lps(circle(2, 10, 11, 5)), image=images.uids[2])])
    write_structure_set(tmp_path / "rs.dcm", [region], images, refer=False, frame_of_reference="1.2.3")
    database = dicombridge.open_folder(tmp_path)
    (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "RTSTRUCT"]
    assert set(images.uids) <= set(loadable.referencedInstanceUIDs)
    node = dicombridge.load(loadable, scene=scene, database=database)[0]
    database.close()
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs").split() == [images.uids[2]]


def test_references_of_all_regions_not_of_the_last(tmp_path: Path, scene: Any) -> None:
    images = write_images(tmp_path / "ct")
    regions = [
        Drawing(f"on {place}", [Drawn(images.lps(circle(place, 10, 11, 5)), image=images.uids[place])])
        for place in (1, 3)
    ]
    write_structure_set(tmp_path / "rs.dcm", regions, images, refer=False)
    node = loaded(tmp_path, scene)[0]
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    referenced = hierarchy.GetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.ReferencedInstanceUIDs").split()
    assert set(referenced) == {images.uids[1], images.uids[3]}


def test_the_geometric_type_is_not_ignored(tmp_path: Path, scene: Any) -> None:
    """SlicerRT draws open contours closed, and several points as a contour."""
    images = write_images(tmp_path / "ct")
    points = images.lps(box(1, 3, 3, 12, 12))
    regions = [
        Drawing(kind, [Drawn(points, kind)]) for kind in ("OPEN_PLANAR", "OPEN_NONPLANAR", "POINT", "CLOSED_PLANAR")
    ]
    write_structure_set(tmp_path / "rs.dcm", regions, images)
    nodes = loaded(tmp_path, scene)
    filled = {name: int(mask_of(segment_named(nodes[0], name)).sum()) for name in names(nodes[0])}
    assert filled == {"OPEN_PLANAR": 0, "OPEN_NONPLANAR": 0, "POINT": 0, "CLOSED_PLANAR": 81}
    (fiducials,) = [node for node in nodes if node.IsA("vtkMRMLMarkupsFiducialNode")]
    assert fiducials.GetNumberOfControlPoints() == 4
    assert len([node for node in nodes if node.IsA("vtkMRMLMarkupsCurveNode")]) == 2
    closed = segment_named(nodes[0], "CLOSED_PLANAR").GetRepresentation(PLANAR_CONTOUR).GetCell(0)
    assert closed.GetPointId(0) == closed.GetPointId(closed.GetNumberOfPoints() - 1)


def test_a_missing_colour_is_a_colour(tmp_path: Path, scene: Any) -> None:
    """SlicerRT makes it -1/255."""
    images = write_images(tmp_path / "ct")
    drawn = [Drawn(images.lps(circle(1, 10, 11, 5)))]
    write_structure_set(
        tmp_path / "rs.dcm", [Drawing("one", drawn), Drawing("bad", drawn, colour=(300, -1, 5))], images
    )
    node = loaded(tmp_path, scene)[0]
    for name in ("one", "bad"):
        colour = segment_named(node, name).GetColor()
        assert all(0 <= part <= 1 for part in colour)
        assert max(colour) > 0.3


def test_empty_regions_are_not_dropped(data: Path, scene: Any) -> None:
    nodes = loaded(data / "rt" / "pinnacle", scene)
    node = next(node for node in nodes if node.IsA("vtkMRMLSegmentationNode"))
    assert names(node) == ["POI_1", "Cone_02_0"]
    assert tag(segment_named(node, "POI_1"), "DICOMBridge.RTROIInterpretedType") == "MARKER"


def test_observations_are_not_dropped(data: Path, scene: Any) -> None:
    """Interpreted type, codes, physical properties, all of which SlicerRT leaves out."""
    path = data / "rt/raystation_proton/rtstruct.dcm"
    node = dicombridge.load(path, scene=scene)[0]
    dataset = pydicom.dcmread(path)
    for item in dataset.RTROIObservationsSequence:
        (name,) = [one.ROIName for one in dataset.StructureSetROISequence if one.ROINumber == item.ReferencedROINumber]
        segment = segment_named(node, name)
        assert tag(segment, "DICOMBridge.RTROIInterpretedType") == item.RTROIInterpretedType
        assert tag(segment, "DICOMBridge.ROIObservationLabel") == item.ROIObservationLabel
        properties = tag(segment, "DICOMBridge.ROIPhysicalProperties")
        for one in item.get("ROIPhysicalPropertiesSequence") or []:
            assert f'"property": "{one.ROIPhysicalProperty}"' in properties


def test_long_names_are_whole(tmp_path: Path, scene: Any) -> None:
    """Names were cut at 16 characters (SlicerRT issue 137); equal ones stay two regions."""
    images = write_images(tmp_path / "ct")
    name = "Lymph node level IV left, supraclavicular, as drawn on Monday"
    drawn = [Drawn(images.lps(circle(1, 10, 11, 5)))]
    write_structure_set(tmp_path / "rs.dcm", [Drawing(name, drawn), Drawing(name, [])], images)
    assert names(loaded(tmp_path, scene)[0]) == [name, name]


def test_holes_are_holes(tmp_path: Path, scene: Any) -> None:
    """OHIF fills them; so do tools that unite the contours of a slice (SlicerRT issue 171)."""
    images = write_images(tmp_path / "ct")
    ring = [Drawn(images.lps(box(1, 2, 2, 18, 18))), Drawn(images.lps(box(1, 6, 6, 12, 12)))]
    write_structure_set(tmp_path / "rs.dcm", [Drawing("ring", ring)], images)
    mask = mask_of(segment_named(loaded(tmp_path, scene)[0], "ring"))
    assert mask.sum() == 16 * 16 - 6 * 6
    assert not mask[1, 6:12, 6:12].any()


def test_the_last_slice_is_not_missed(tmp_path: Path, scene: Any) -> None:
    images = write_images(tmp_path / "ct")
    region = Drawing("all", [Drawn(images.lps(box(place, 0, 0, 20, 24))) for place in range(5)])
    write_structure_set(tmp_path / "rs.dcm", [region], images)
    mask = mask_of(segment_named(loaded(tmp_path, scene)[0], "all"))
    assert mask.shape == (5, 20, 24)
    assert mask.all()


def test_contour_offset_vector_is_not_ignored(tmp_path: Path, scene: Any) -> None:
    images = write_images(tmp_path / "ct")
    region = Drawing("moved", [Drawn(images.lps(box(1, 4, 4, 8, 8)), offset=(0, 0, 4))])
    write_structure_set(tmp_path / "rs.dcm", [region], images)
    node = loaded(tmp_path, scene)[0]
    assert np.flatnonzero(mask_of(segment_named(node, "moved")).any(axis=(1, 2))).tolist() == [3]
    (points,) = [points for _, points in kept_contours(node)[1].contours]
    assert points[0, 2] == 36


def test_images_without_database_are_taken_from_the_scene(tmp_path: Path, scene: Any) -> None:
    """The order of loading, and whether there is a database, change nothing about the grid."""
    images = write_images(tmp_path / "ct", (6, 30, 40))
    region = Drawing("one", [Drawn(images.lps(circle(2, 10, 11, 5)), image=images.uids[2])])
    path = write_structure_set(tmp_path / "rs" / "rs.dcm", [region], images)
    volume = dicombridge.load(tmp_path / "ct", scene=scene)[0]
    loadable = Loadable(files=[str(path)], name="rs", kind="RTSTRUCT")
    node = dicombridge.load(loadable, scene=scene)[0]
    assert mask_of(segment_named(node, "one")).shape == (6, 30, 40)
    assert node.GetNodeReference("referenceImageGeometryRef") is volume


@pytest.mark.parametrize("folder", ["pydicom", "raystation_proton"])
def test_points_are_seen(data: Path, scene: Any, folder: str) -> None:
    """SlicerRT locks and hides them."""
    nodes = loaded(data / "rt" / folder, scene)
    points = [
        node for node in nodes if node.IsA("vtkMRMLMarkupsFiducialNode") and node.GetAttribute("DICOMBridge.ROINumber")
    ]
    assert points
    assert all(node.GetDisplayNode().GetVisibility() for node in points)
