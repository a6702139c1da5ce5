"""Segmentations through Slicer's own DICOM module: import, choice of the plugin, load, export.

Slicer runs it with ``slicer.testing.runUnitTest``; the functions above the test case need no Slicer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeSegmentationPlugin"
SHAPE = (8, 20, 30)
SPACING = (2.5, 1.2, 0.8)
LABELS = ("Liver", "Nothing", "Kidney")


def boxes() -> Any:
    """Return the phantom's label map ``[slice, row, column]``, uint8: 1 and 3 overlap nothing, 2 is empty."""
    import numpy as np

    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 4:12, 5:15] = 1
    labels[3:5, 13:18, 18:26] = 3
    return labels


def voxel_counts() -> dict[str, int]:
    """Return the number of voxels of each segment by its label."""
    labels = boxes()
    return {name: int((labels == number).sum()) for number, name in enumerate(LABELS, start=1)}


def write_ct(directory: Path) -> list[Any]:
    """Write a CT series, one file a slice, and return its datasets in slice order."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
    datasets = []
    for number, plane in enumerate(boxes()):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame_of_reference
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Self^Test", "SELFTEST", "", "O"
        ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "1", "20260101", "120000", ""
        ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ds.Manufacturer = ""
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "CT", 1, number + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [10, -20, 30 + number * SPACING[0]]
        ds.PixelSpacing, ds.SliceThickness = list(SPACING[1:]), SPACING[0]
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept, ds.KVP, ds.AcquisitionNumber = 1, 0, "", ""
        ds.PixelData = (plane.astype("<i2") * 100).tobytes()
        ds.save_as(directory / f"ct{number}.dcm", enforce_file_format=True)
        datasets.append(ds)
    return datasets


def write_seg(directory: Path, sources: list[Any]) -> Any:
    """Write a binary segmentation of the CT, its second segment empty, and return it."""
    import highdicom as hd
    import numpy as np
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    labels = boxes()
    types = (codes.SCT.Liver, codes.SCT.Tissue, codes.SCT.Kidney)
    seg = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=np.stack([labels == number for number in (1, 2, 3)], axis=-1).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=label,
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=kind,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
                tracking_id=f"{label} 1",
                tracking_uid=generate_uid(),
            )
            for number, (label, kind) in enumerate(zip(LABELS, types, strict=True), start=1)
        ],
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="DICOMBridge",
        manufacturer_model_name="Self test",
        software_versions="1",
        device_serial_number="1",
        series_description="Boxes",
    )
    seg.save_as(directory / "seg.dcm")
    return seg


def counts_in_file(path: Path) -> dict[str, int]:
    """Return the number of voxels of each segment in a SEG file, as highdicom reads it."""
    import highdicom as hd

    seg = hd.seg.segread(path)
    numbers = seg.segment_numbers
    planes = seg.get_volume(segment_numbers=numbers, combine_segments=False).array
    names = [seg.get_segment_description(number).segment_label for number in numbers]
    return {name: int(planes[..., index].sum()) for index, name in enumerate(names)}


class DICOMBridgeSegmentationSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        self.sources = write_ct(directory)
        self.seg = write_seg(directory, self.sources)

    def test_plugin_is_chosen(self) -> None:
        """Ours has the highest confidence, and refers to every slice of the CT."""
        loadable = self.assert_chosen(self.seg, PLUGIN)
        self.assertEqual(len(loadable.files), 1)
        uids = sorted(source.SOPInstanceUID for source in self.sources)
        self.assertEqual(sorted(loadable.referencedInstanceUIDs), uids)

    def test_load(self) -> None:
        """Image and segmentation come with the right voxels, names and reference geometry."""
        segmentation, volume = self.loaded()
        self.assertEqual(self.counts_in_scene(segmentation), voxel_counts())
        reference = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
        self.assertEqual(reference, volume)

    def test_export(self) -> None:
        """What the export dialog does: ask the plugin, give a folder, export, read the file again."""
        segmentation, _ = self.loaded()
        exported = self.export(segmentation, PLUGIN)
        self.assertEqual(exported.StudyInstanceUID, self.seg.StudyInstanceUID)
        self.assertNotEqual(exported.SeriesInstanceUID, self.seg.SeriesInstanceUID)
        self.assertEqual(
            [segment.TrackingUID for segment in exported.SegmentSequence],
            [segment.TrackingUID for segment in self.seg.SegmentSequence],
        )
        self.assertEqual(counts_in_file(Path(exported.filename)), voxel_counts())

    def loaded(self) -> tuple[Any, Any]:
        """Load both series as the DICOM browser does; return the segmentation node and the volume node."""
        self.load(self.sources[0], self.seg)
        (segmentation,) = self.nodes("vtkMRMLSegmentationNode")
        (volume,) = self.nodes("vtkMRMLScalarVolumeNode")
        return segmentation, volume

    def counts_in_scene(self, node: Any) -> dict[str, int]:
        """Return the number of voxels of each segment of a segmentation node by its name."""
        import slicer
        from vtk.util.numpy_support import vtk_to_numpy

        counts = {}
        segmentation = node.GetSegmentation()
        for segment_id in segmentation.GetSegmentIDs():
            image = slicer.vtkOrientedImageData()
            node.GetBinaryLabelmapRepresentation(segment_id, image)
            scalars = image.GetPointData().GetScalars()
            filled = scalars is not None and scalars.GetNumberOfTuples() > 0
            counts[segmentation.GetSegment(segment_id).GetName()] = (
                int((vtk_to_numpy(scalars) != 0).sum()) if filled else 0
            )
        return counts
