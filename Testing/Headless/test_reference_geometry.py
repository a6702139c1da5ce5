"""When a segmentation node takes a volume as its reference geometry: what Slicer does, and so what loaders must set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dicombridge import hierarchy

ROLE = "referenceImageGeometryRef"
PARAMETER = "Reference image geometry"
SERIES = {"PatientID": "P1", "StudyInstanceUID": "1.2.3.10"}


def add_volume(scene: Any, uids: list[str], study: str = "1.2.3.10") -> Any:
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, np.zeros((3, 4, 5), np.int16))
    values = {"PatientID": "P1", "StudyInstanceUID": study, "SeriesInstanceUID": "1.2.3.20", "SOPInstanceUIDs": uids}
    hierarchy.add_series(scene, node, values)
    return node


def add_segmentation(scene: Any, references: list[str], geometry: str = "") -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Organs")
    if geometry:
        node.GetSegmentation().SetConversionParameter(PARAMETER, geometry)
    own = {"SeriesInstanceUID": "1.2.3.30", "SOPInstanceUIDs": ["1.2.3.31"], "ReferencedInstanceUIDs": references}
    hierarchy.add_series(scene, node, {**SERIES, **own})
    return node


@pytest.mark.parametrize("study", ["1.2.3.10", "1.2.3.11"])
def test_volume_loaded_later_becomes_the_reference(scene: Any, study: str) -> None:
    """Also from another study; and the grid is the volume's."""
    segmentations = [add_segmentation(scene, ["1.2.3.21", "1.2.3.22"]) for _ in range(2)]
    volume = add_volume(scene, ["1.2.3.21", "1.2.3.22"], study)
    for segmentation in segmentations:
        assert segmentation.GetNodeReference(ROLE) is volume
        geometry = segmentation.GetSegmentation().GetConversionParameter(PARAMETER)
        assert geometry.rstrip(";").split(";")[-6:] == ["0", "4", "0", "3", "0", "2"]


def test_volume_of_others_does_not(scene: Any) -> None:
    segmentation = add_segmentation(scene, ["1.2.3.21"])
    add_volume(scene, ["9.8.7"])
    assert segmentation.GetNodeReference(ROLE) is None


def test_volume_loaded_before_is_for_the_loader_to_set(scene: Any) -> None:
    """Slicer looks only when an item gets a UID, so that nothing happens for a volume that is there already."""
    volume = add_volume(scene, ["1.2.3.21"])
    segmentation = add_segmentation(scene, ["1.2.3.21"])
    assert segmentation.GetNodeReference(ROLE) is None
    assert hierarchy.node_of_instance(scene, "1.2.3.21") is volume


def test_a_geometry_of_its_own_is_in_the_way(scene: Any) -> None:
    """A loader that states the frames' own extent as reference geometry never gets the volume's."""
    own = "1;0;0;0;0;1;0;0;0;0;1;0;0;0;0;1;0;1;0;1;0;1;"
    segmentation = add_segmentation(scene, ["1.2.3.21"], geometry=own)
    add_volume(scene, ["1.2.3.21"])
    assert segmentation.GetNodeReference(ROLE) is None
    assert segmentation.GetSegmentation().GetConversionParameter(PARAMETER) == own


def test_segments_do_not_make_a_geometry(scene: Any) -> None:
    """So that a loader may add labels and surfaces first, and the volume may come last."""
    import slicer
    import vtk

    segmentation = add_segmentation(scene, ["1.2.3.21"])
    labels = slicer.vtkOrientedImageData()
    labels.SetDimensions(5, 4, 2)
    labels.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    labels.GetPointData().GetScalars().Fill(1)
    segment = slicer.vtkSegment()
    segment.AddRepresentation("Binary labelmap", labels)
    segmentation.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    segmentation.GetSegmentation().AddSegment(segment)
    assert segmentation.CreateClosedSurfaceRepresentation()
    assert segmentation.GetSegmentation().GetConversionParameter(PARAMETER) == ""
    volume = add_volume(scene, ["1.2.3.21"])
    assert segmentation.GetNodeReference(ROLE) is volume
