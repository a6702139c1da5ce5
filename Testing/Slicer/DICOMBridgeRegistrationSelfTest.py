"""Registrations through Slicer's own DICOM module: two image series fused, and the transform exported again.

Slicer runs it with ``slicer.testing.runUnitTest``. The objects serve the self tests of deformations and fiducials, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeRegistrationPlugin"
FIXED, MOVING = "1.2.826.0.1.3680043.10.1474.1", "1.2.826.0.1.3680043.10.1474.2"
SHIFT = (12.5, -7.25, 4.0)
"""LPS mm, moving -> fixed."""
TURN = (0.8, -0.6, 0.6, 0.8)
"""In the axial plane: the upper left 2x2 of the matrix."""


def matrix_values() -> list[float]:
    """Return the sixteen numbers of the registration, LPS, row by row."""
    a, b, c, d = TURN
    x, y, z = SHIFT
    return [a, b, 0, x, c, d, 0, y, 0, 0, 1, z, 0, 0, 0, 1]


def mapped(point: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return where the registration puts a point, LPS mm."""
    rows = [matrix_values()[4 * row : 4 * row + 4] for row in range(3)]
    x, y, z = (sum(value * part for value, part in zip(row, (*point, 1.0), strict=True)) for row in rows)
    return x, y, z


def common(sop_class: str, modality: str, study: str) -> Any:
    """Return a dataset of the phantom's patient with UIDs of its own."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Self^Test", "SELFTEST", "", "O"
    ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "1", "20260101", "120000", ""
    ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ""
    ds.Manufacturer, ds.ManufacturerModelName = "DICOMBridge", "Self test"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.Modality, ds.InstanceNumber = modality, 1
    return ds


def write_ct(directory: Path, study: str, frame: str, number: int) -> list[Any]:
    """Write a small CT series in a frame of reference and return its datasets."""
    from pydicom.uid import generate_uid

    datasets, series = [], generate_uid()
    for place in range(4):
        ds = common("1.2.840.10008.5.1.4.1.1.2", "CT", study)
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID, ds.SeriesNumber = series, frame, number
        ds.SeriesDescription, ds.InstanceNumber = f"CT {number}", place + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-40, -30, 5.0 * place]
        ds.PixelSpacing, ds.SliceThickness, ds.KVP, ds.AcquisitionNumber = [4, 4], 5, "", ""
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 16, 20, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = bytes(2 * 16 * 20)
        ds.save_as(directory / f"ct{number}-{place}.dcm", enforce_file_format=True)
        datasets.append(ds)
    return datasets


def registration(sop_class: str, study: str, label: str) -> Any:
    """Return an object of the registration classes without its registrations."""
    ds = common(sop_class, "REG", study)
    ds.FrameOfReferenceUID, ds.SeriesNumber, ds.SeriesDescription = FIXED, 9, label
    ds.ContentDate, ds.ContentTime, ds.ContentLabel = "20260101", "120000", label.upper()
    ds.ContentDescription, ds.ContentCreatorName = label, ""
    return ds


def write_registration(directory: Path, study: str) -> Any:
    """Write the registration of the moving into the fixed frame of reference and return it."""
    from pydicom.dataset import Dataset

    ds = registration("1.2.840.10008.5.1.4.1.1.66.1", study, "Aligned")
    ds.RegistrationSequence = []
    for frame, values in ((FIXED, [float(place % 5 == 0) for place in range(16)]), (MOVING, matrix_values())):
        matrix, one, item = Dataset(), Dataset(), Dataset()
        matrix.FrameOfReferenceTransformationMatrixType = "RIGID"
        matrix.FrameOfReferenceTransformationMatrix = values
        one.MatrixSequence, one.RegistrationTypeCodeSequence = [matrix], []
        item.FrameOfReferenceUID, item.MatrixRegistrationSequence = frame, [one]
        ds.RegistrationSequence.append(item)
    ds.save_as(directory / "registration.dcm", enforce_file_format=True)
    return ds


class DICOMBridgeRegistrationSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        from pydicom.uid import generate_uid

        study = generate_uid()
        self.fixed, self.moving = write_ct(directory, study, FIXED, 1), write_ct(directory, study, MOVING, 2)
        self.registration = write_registration(directory, study)

    def test_plugin_is_chosen(self) -> None:
        """Ours has the highest confidence, and refers to every slice of both series."""
        loadable = self.assert_chosen(self.registration, PLUGIN)
        images = {str(ds.SOPInstanceUID) for ds in [*self.fixed, *self.moving]}
        self.assertEqual(images - set(loadable.referencedInstanceUIDs), set())

    def loaded(self) -> Any:
        self.load(self.fixed[0], self.moving[0], self.registration)
        (node,) = self.nodes("vtkMRMLLinearTransformNode")
        return node

    def test_load(self) -> None:
        """The transform to parent maps moving to fixed, in RAS."""
        from vtk import vtkMatrix4x4

        matrix = vtkMatrix4x4()
        self.loaded().GetMatrixTransformToParent(matrix)
        for point in ((10.0, 20.0, 30.0), (-55.0, 3.0, 1.0)):
            x, y, z, _ = matrix.MultiplyPoint((-point[0], -point[1], point[2], 1.0))
            for found, expected in zip((-x, -y, z), mapped(point), strict=True):
                self.assertAlmostEqual(found, expected, places=9)

    def test_apply(self) -> None:
        """What lies in the moving frame is put under the transform, what lies in the fixed one is not."""
        import slicer

        import dicombridge

        node = self.loaded()
        dicombridge.apply_registration(scene=slicer.mrmlScene)
        parents = [volume.GetParentTransformNode() for volume in self.nodes("vtkMRMLScalarVolumeNode")]
        self.assertEqual(len(parents), 2)
        self.assertEqual([parent for parent in parents if parent is not None], [node])

    def test_export(self) -> None:
        """The numbers come back, for the same frames of reference."""
        exported = self.export(self.loaded(), PLUGIN)
        self.assertEqual(exported.FrameOfReferenceUID, FIXED)
        items = {str(item.FrameOfReferenceUID): item for item in exported.RegistrationSequence}
        self.assertEqual(set(items), {FIXED, MOVING})
        (matrix,) = items[MOVING].MatrixRegistrationSequence[0].MatrixSequence
        self.assertEqual([float(value) for value in matrix.FrameOfReferenceTransformationMatrix], matrix_values())
        self.assert_chosen(exported, PLUGIN)
