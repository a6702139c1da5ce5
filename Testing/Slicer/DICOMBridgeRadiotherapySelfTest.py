"""Radiotherapy objects through Slicer's own DICOM module: import, choice of the plugin, load.

Slicer runs it with ``slicer.testing.runUnitTest``; the functions above the test case need no Slicer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeRadiotherapyPlugin"
STORAGE = "1.2.840.10008.5.1.4.1.1"
SOP_CLASSES = {
    "CT": f"{STORAGE}.2",
    "RTIMAGE": f"{STORAGE}.481.1",
    "RTDOSE": f"{STORAGE}.481.2",
    "RTSTRUCT": f"{STORAGE}.481.3",
    "RTRECORD": f"{STORAGE}.481.4",
    "RTPLAN": f"{STORAGE}.481.5",
    "PLAN": f"{STORAGE}.481.12",  # RT Radiation Set, of the second generation
}
SHAPE = (5, 20, 20)
ISOCENTRE = (10.0, 9.0, 4.0)
CONTOURED_SLICES = (1, 2, 3)
# A square from 4.5 to 14.5 holds the centres of ten pixels of 1 mm, in both directions.
VOXELS_OF_TARGET = 10 * 10 * len(CONTOURED_SLICES)
DELIVERED = 99.75


def item(**values: Any) -> Any:
    """Return a dataset with these attributes."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def reference(dataset: Any, **values: Any) -> Any:
    """Return an item that refers to an object."""
    return item(ReferencedSOPClassUID=dataset.SOPClassUID, ReferencedSOPInstanceUID=dataset.SOPInstanceUID, **values)


def pixels(array: Any) -> dict[str, Any]:
    """Return the attributes of unsigned pixels of 16 bits, ``[frame, row, column]``."""
    frames, rows, columns = array.shape
    values = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": array.astype("<u2").tobytes(),
    }
    if frames > 1:
        values.update(NumberOfFrames=frames, FrameIncrementPointer=0x3004000C)
    return values


class Study:
    """A patient of one study, whose objects refer to each other, written into a folder."""

    def __init__(self, directory: Path) -> None:
        from pydicom.uid import generate_uid

        self.directory = directory
        self.study, self.frame_of_reference = generate_uid(), generate_uid()
        ct_series = generate_uid()
        self.ct = [self.slice(number, ct_series) for number in range(SHAPE[0])]
        self.structures = self.structure_set()
        self.plan = self.plan_of_one_beam()
        self.dose = self.dose_of_the_plan()
        self.image = self.portal_image()
        self.record = self.treatment_record()
        self.second = self.radiation_set()
        self.radiotherapy = [self.structures, self.plan, self.dose, self.image, self.record, self.second]

    def write(self, modality: str, number: int, series: str = "", **values: Any) -> Any:
        """Write an object and return its dataset."""
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, generate_uid

        dataset = item(
            SOPClassUID=SOP_CLASSES[modality],
            SOPInstanceUID=generate_uid(),
            StudyInstanceUID=self.study,
            SeriesInstanceUID=series or generate_uid(),
            FrameOfReferenceUID=self.frame_of_reference,
            PatientName="Self^Test",
            PatientID="SELFTEST",
            PatientBirthDate="",
            PatientSex="O",
            StudyID="1",
            StudyDate="20260101",
            StudyTime="120000",
            AccessionNumber="",
            ReferringPhysicianName="",
            PositionReferenceIndicator="",
            Manufacturer="",
            Modality=modality,
            SeriesNumber=number,
            SeriesDescription=modality.title(),
            InstanceNumber=1,
        )
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OW"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(self.directory / f"{modality}{dataset.InstanceNumber}.dcm", enforce_file_format=True)
        return dataset

    def slice(self, number: int, series: str) -> Any:
        """Return a slice of the CT, 1 mm in all directions, its first pixel at (0, 0)."""
        import numpy as np

        return self.write(
            "CT",
            1,
            series,
            InstanceNumber=number + 1,
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, number],
            PixelSpacing=[1, 1],
            SliceThickness=1,
            PatientPosition="HFS",
            RescaleSlope=1,
            RescaleIntercept=-1024,
            **pixels(np.full((1, *SHAPE[1:]), 1000 + number)),
        )

    def structure_set(self) -> Any:
        """Return a structure set with one square region."""
        contours = [
            item(
                ContourImageSequence=[reference(self.ct[number])],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=4,
                ContourData=[4.5, 4.5, number, 14.5, 4.5, number, 14.5, 14.5, number, 4.5, 14.5, number],
            )
            for number in CONTOURED_SLICES
        ]
        series = item(
            SeriesInstanceUID=self.ct[0].SeriesInstanceUID,
            ContourImageSequence=[reference(one) for one in self.ct],
        )
        study = reference(self.ct[0], RTReferencedSeriesSequence=[series])
        return self.write(
            "RTSTRUCT",
            2,
            StructureSetLabel="Structures",
            StructureSetDate="20260101",
            StructureSetTime="120000",
            ReferencedFrameOfReferenceSequence=[
                item(FrameOfReferenceUID=self.frame_of_reference, RTReferencedStudySequence=[study])
            ],
            StructureSetROISequence=[
                item(
                    ROINumber=1,
                    ROIName="Target",
                    ReferencedFrameOfReferenceUID=self.frame_of_reference,
                    ROIGenerationAlgorithm="MANUAL",
                )
            ],
            ROIContourSequence=[item(ReferencedROINumber=1, ROIDisplayColor=[255, 0, 0], ContourSequence=contours)],
            RTROIObservationsSequence=[
                item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="PTV", ROIInterpreter="")
            ],
        )

    def plan_of_one_beam(self) -> Any:
        """Return a plan of one static photon beam."""
        first = item(
            ControlPointIndex=0,
            NominalBeamEnergy=6,
            GantryAngle=0,
            GantryRotationDirection="NONE",
            BeamLimitingDeviceAngle=0,
            BeamLimitingDeviceRotationDirection="NONE",
            PatientSupportAngle=0,
            PatientSupportRotationDirection="NONE",
            TableTopEccentricAngle=0,
            TableTopEccentricRotationDirection="NONE",
            IsocenterPosition=list(ISOCENTRE),
            CumulativeMetersetWeight=0,
            BeamLimitingDevicePositionSequence=[
                item(RTBeamLimitingDeviceType=axis, LeafJawPositions=[-50, 50]) for axis in ("X", "Y")
            ],
        )
        beam = item(
            BeamNumber=1,
            BeamName="AP",
            BeamType="STATIC",
            RadiationType="PHOTON",
            TreatmentDeliveryType="TREATMENT",
            TreatmentMachineName="Linac",
            SourceAxisDistance=1000,
            ReferencedPatientSetupNumber=1,
            NumberOfWedges=0,
            NumberOfCompensators=0,
            NumberOfBoli=0,
            NumberOfBlocks=0,
            FinalCumulativeMetersetWeight=1,
            NumberOfControlPoints=2,
            BeamLimitingDeviceSequence=[
                item(RTBeamLimitingDeviceType=axis, NumberOfLeafJawPairs=1) for axis in ("X", "Y")
            ],
            ControlPointSequence=[first, item(ControlPointIndex=1, CumulativeMetersetWeight=1)],
        )
        return self.write(
            "RTPLAN",
            3,
            RTPlanLabel="Plan",
            RTPlanDate="20260101",
            RTPlanTime="120000",
            RTPlanGeometry="PATIENT",
            ReferencedStructureSetSequence=[reference(self.structures)],
            FractionGroupSequence=[
                item(
                    FractionGroupNumber=1,
                    NumberOfFractionsPlanned=2,
                    NumberOfBeams=1,
                    NumberOfBrachyApplicationSetups=0,
                    ReferencedBeamSequence=[item(ReferencedBeamNumber=1, BeamMeterset=100)],
                )
            ],
            BeamSequence=[beam],
            PatientSetupSequence=[item(PatientSetupNumber=1, PatientPosition="HFS")],
        )

    def dose_of_the_plan(self) -> Any:
        """Return a dose that rises from 0 Gy by 0.5 Gy from plane to plane."""
        import numpy as np

        planes = np.broadcast_to(np.arange(5).reshape(5, 1, 1) * 500, SHAPE)
        return self.write(
            "RTDOSE",
            4,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 0],
            PixelSpacing=[1, 1],
            GridFrameOffsetVector=[0, 1, 2, 3, 4],
            DoseUnits="GY",
            DoseType="PHYSICAL",
            DoseSummationType="PLAN",
            DoseGridScaling=0.001,
            ReferencedRTPlanSequence=[reference(self.plan)],
            **pixels(planes),
        )

    def portal_image(self) -> Any:
        """Return an image from the front that leaves isocentre and patient position to the plan."""
        import numpy as np

        return self.write(
            "RTIMAGE",
            5,
            ImageType=["ORIGINAL", "PRIMARY", "PORTAL"],
            RTImageLabel="AP",
            RTImagePlane="NORMAL",
            ReportedValuesOrigin="ACTUAL",
            XRayImageReceptorAngle=0,
            ImagePlanePixelSpacing=[2, 2],
            RTImagePosition=[-4, 4],
            RadiationMachineSAD=1000,
            RTImageSID=1500,
            GantryAngle=0,
            ReferencedRTPlanSequence=[reference(self.plan)],
            ReferencedBeamNumber=1,
            **pixels(np.arange(25).reshape(1, 5, 5)),
        )

    def treatment_record(self) -> Any:
        """Return the record of one fraction."""
        points = [
            item(
                ReferencedControlPointIndex=index,
                TreatmentControlPointDate="20260102",
                TreatmentControlPointTime=f"08150{index}",
                SpecifiedMeterset=100 * index,
                DeliveredMeterset=DELIVERED * index,
            )
            for index in range(2)
        ]
        beam = item(
            ReferencedBeamNumber=1,
            BeamName="AP",
            BeamType="STATIC",
            RadiationType="PHOTON",
            CurrentFractionNumber=1,
            TreatmentDeliveryType="TREATMENT",
            TreatmentTerminationStatus="NORMAL",
            SpecifiedPrimaryMeterset=100,
            DeliveredPrimaryMeterset=DELIVERED,
            NumberOfControlPoints=2,
            ControlPointDeliverySequence=points,
        )
        return self.write(
            "RTRECORD",
            6,
            TreatmentDate="20260102",
            TreatmentTime="081500",
            PrimaryDosimeterUnit="MU",
            ReferencedRTPlanSequence=[reference(self.plan)],
            TreatmentSessionBeamSequence=[beam],
        )

    def radiation_set(self) -> Any:
        """Return an object of the second generation."""
        return self.write(
            "PLAN", 7, UserContentLabel="SET", RTRadiationSetIntent="TREATMENT", IntendedNumberOfFractions=2
        )


class DICOMBridgeRadiotherapySelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules, without SlicerRT."""

    def write(self, directory: Path) -> None:
        self.study = Study(directory)

    def test_plugin_is_chosen(self) -> None:
        """Ours has the highest confidence for every object of radiotherapy."""
        for dataset in self.study.radiotherapy:
            self.assertEqual(len(self.assert_chosen(dataset, PLUGIN).files), 1)

    def test_structure_set(self) -> None:
        """The square fills ten by ten pixels of three slices of the CT."""
        import slicer
        from vtk.util.numpy_support import vtk_to_numpy

        self.load(self.study.ct[0], self.study.structures)
        (node,) = self.nodes("vtkMRMLSegmentationNode")
        (segment_id,) = node.GetSegmentation().GetSegmentIDs()
        self.assertEqual(node.GetSegmentation().GetSegment(segment_id).GetName(), "Target")
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment_id, image)
        count = int((vtk_to_numpy(image.GetPointData().GetScalars()) != 0).sum())
        self.assertEqual(count, VOXELS_OF_TARGET)

    def test_dose(self) -> None:
        """Stored values are scaled to Gy."""
        self.load(self.study.dose)
        (node,) = self.nodes("vtkMRMLScalarVolumeNode")
        self.assertAlmostEqual(float(self.voxels(node).max()), 2.0, places=5)
        self.assertEqual(node.GetAttribute("DicomRtImport.DoseVolume"), "1")

    def test_plan(self) -> None:
        """The isocentre is a markup where the plan says, turned to RAS."""
        self.load(self.study.plan)
        self.assertTrue(self.nodes("vtkMRMLTableNode"))
        places = []
        for node in self.nodes("vtkMRMLMarkupsFiducialNode"):
            for index in range(node.GetNumberOfControlPoints()):
                place = [0.0, 0.0, 0.0]
                node.GetNthControlPointPosition(index, place)
                places.append([round(value, 3) for value in place])
        self.assertIn([-ISOCENTRE[0], -ISOCENTRE[1], ISOCENTRE[2]], places)

    def test_image(self) -> None:
        """The middle of the image lies 500 mm behind the isocentre of the plan, which the database knows."""
        self.load(self.study.image)
        (node,) = self.nodes("vtkMRMLScalarVolumeNode")
        bounds = [0.0] * 6
        node.GetRASBounds(bounds)
        middle = [round((bounds[axis] + bounds[axis + 1]) / 2, 3) for axis in (0, 2, 4)]
        # One slice of 1 mm, which begins half a millimetre before the plane and ends as much behind it.
        self.assertEqual(middle, [-ISOCENTRE[0], -ISOCENTRE[1] - 500, ISOCENTRE[2]])
        self.assertEqual(node.GetAttribute("DicomRtImport.RtImage"), "1")

    def test_record(self) -> None:
        """The delivered meterset of the beam is in one of the tables."""
        self.load(self.study.record)
        found = []
        for node in self.nodes("vtkMRMLTableNode"):
            column = node.GetTable().GetColumnByName("Delivered meterset")
            if column is not None:
                found += [column.GetValue(row) for row in range(column.GetNumberOfValues())]
        self.assertEqual(found, [DELIVERED, 0.0, DELIVERED])

    def test_second_generation(self) -> None:
        """At least what it is, its outline and its references."""
        self.load(self.study.second)
        names = [node.GetName() for node in self.nodes("vtkMRMLTableNode")]
        self.assertEqual(names, ["7: Plan", "7: Plan - Outline"])
