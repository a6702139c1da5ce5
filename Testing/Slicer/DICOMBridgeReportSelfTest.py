"""Structured reports through Slicer's own DICOM module: a report is loaded, and new markups are exported as one.

Slicer runs it with ``slicer.testing.runUnitTest``. The images are those of the self test of registrations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeRegistrationSelfTest as registration
import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeReportPlugin"
LINE = ((1.25, -20.5, 10.125), (17.5, 3.0, -2.25))
"""LPS mm; numbers that single floats hold."""
TRACKING_UID = "2.25.30713571"
_GRAPHIC = [value for point in LINE for value in point]


def item(relation: str, value_type: str, concept: tuple[str, str, str], **values: Any) -> Any:
    """Return a content item."""
    from pydicom.dataset import Dataset

    made = Dataset()
    if relation:
        made.RelationshipType = relation
    made.ValueType = value_type
    made.ConceptNameCodeSequence = [code(*concept)]
    for name, value in values.items():
        setattr(made, name, value)
    return made


def code(value: str, scheme: str, meaning: str) -> Any:
    """Return an item of a code sequence."""
    from pydicom.dataset import Dataset

    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def write_report(directory: Path, study: str) -> Any:
    """Write a report with one line in the fixed frame of reference and its length; return it."""
    from pydicom.dataset import Dataset

    measured = Dataset()
    measured.NumericValue = "31.11"
    measured.MeasurementUnitsCodeSequence = [code("mm", "UCUM", "mm")]
    group = item("CONTAINS", "CONTAINER", ("125007", "DCM", "Measurement Group"), ContinuityOfContent="SEPARATE")
    group.ContentSequence = [
        item("HAS OBS CONTEXT", "TEXT", ("112039", "DCM", "Tracking Identifier"), TextValue="Lesion 1"),
        item("HAS OBS CONTEXT", "UIDREF", ("112040", "DCM", "Tracking Unique Identifier"), UID=TRACKING_UID),
        item(
            "CONTAINS",
            "SCOORD3D",
            ("111030", "DCM", "Image Region"),
            GraphicType="POLYLINE",
            GraphicData=_GRAPHIC,
            ReferencedFrameOfReferenceUID=registration.FIXED,
        ),
        item("CONTAINS", "NUM", ("410668003", "SCT", "Length"), MeasuredValueSequence=[measured]),
    ]
    measurements = item("CONTAINS", "CONTAINER", ("126010", "DCM", "Imaging Measurements"))
    measurements.ContinuityOfContent, measurements.ContentSequence = "SEPARATE", [group]
    ds = registration.common("1.2.840.10008.5.1.4.1.1.88.34", "SR", study)
    ds.SeriesNumber, ds.SeriesDescription = 9, "Measurements"
    ds.ContentDate, ds.ContentTime = "20260101", "120000"
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.update(item("", "CONTAINER", ("126000", "DCM", "Imaging Measurement Report"), ContentSequence=[measurements]))
    ds.ContinuityOfContent = "SEPARATE"
    ds.save_as(directory / "report.dcm", enforce_file_format=True)
    return ds


def graphics_of(dataset: Any) -> list[tuple[str, list[float]]]:
    """Return Graphic Type and Data of all coordinates in space."""
    found, waiting = [], [dataset]
    while waiting:
        one = waiting.pop(0)
        if one.get("ValueType") == "SCOORD3D":
            found.append((str(one.GraphicType), [float(value) for value in one.GraphicData]))
        waiting.extend(one.get("ContentSequence") or ())
    return found


class DICOMBridgeReportSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        from pydicom.uid import generate_uid

        study = generate_uid()
        self.images = registration.write_ct(directory, study, registration.FIXED, 1)
        self.report = write_report(directory, study)

    def loaded(self) -> Any:
        self.load(self.images[0], self.report)
        (node,) = self.nodes("vtkMRMLMarkupsLineNode")
        return node

    def test_load(self) -> None:
        """The line lies where it was, in RAS; its row has its number."""
        self.assert_chosen(self.report, PLUGIN)
        node = self.loaded()
        points = [node.GetNthControlPointPositionVector(number) for number in range(2)]
        self.assertEqual([(-x, -y, z) for x, y, z in points], list(LINE))
        table = node.GetNodeReference("DICOMBridge.Report")
        self.assertEqual(table.GetTable().GetColumnByName("Length").GetValue(0), 31.11)

    def test_export(self) -> None:
        """An end that was moved is written where it is now, and the length is measured again."""
        node = self.loaded()
        x, y, z = LINE[1]
        node.SetNthControlPointPosition(1, -x, -y, z + 2.5)
        exported = self.export(node.GetNodeReference("DICOMBridge.Report"), PLUGIN)
        self.assertEqual(graphics_of(exported), [("POLYLINE", [*_GRAPHIC[:5], z + 2.5])])
        self.assert_chosen(exported, PLUGIN)

    def test_export_of_new_markups(self) -> None:
        """A point that was set in Slicer becomes a report of its own."""
        import slicer

        self.loaded()
        (volume,) = self.nodes("vtkMRMLScalarVolumeNode")
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Found")
        points.AddControlPoint(-1.5, -2.5, 3.25)
        points.SetNodeReferenceID("referenceImageGeometryRef", volume.GetID())
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        study = hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(volume), "Study")
        hierarchy.CreateItem(study, points)
        exported = self.export(points, PLUGIN)
        self.assertEqual(graphics_of(exported), [("POINT", [1.5, 2.5, 3.25])])
        self.assertEqual(exported.StudyInstanceUID, self.report.StudyInstanceUID)
