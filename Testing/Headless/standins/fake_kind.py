"""A kind that does as little as it can, and a study of headers to drive a plugin with."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicombridge.loadable import Loadable
from standins.application import SlicerStandIn

HOOKS = Path(__file__).parents[3] / "DICOMPluginsExt"
HOOK = "DICOMBridgeSegmentationPlugin"
CT, SEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"
STUDY, CT_SERIES, SEG_SERIES = "1.2.3.10", "1.2.3.20", "1.2.3.30"


def write_header(path: Path, sop_class: str, series: str, **values: Any) -> str:
    """Write an object without pixels; return its SOP Instance UID."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID = sop_class, generate_uid(entropy_srcs=[path.name])
    header.file_meta.MediaStorageSOPClassUID = sop_class
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.PatientID, header.PatientName = "P1", "Doe^Jane"
    header.StudyInstanceUID, header.SeriesInstanceUID = STUDY, series
    for name, value in values.items():
        setattr(header, name, value)
    header.save_as(path, enforce_file_format=True)
    return str(header.SOPInstanceUID)


class Room(ModuleType):
    """A kind's room that does as little as it can and remembers how it was called."""

    def __init__(self) -> None:
        super().__init__("dicombridge.segmentation")
        self.calls: list[Any] = []
        self.failure: Exception | None = None
        self.warning = "guessed"

    def examine(self, files: list[str], database: Any) -> list[Loadable]:
        self.calls.append(("examine", files))
        if self.failure:
            raise self.failure
        loadable = Loadable(files=files, name="7: Organs", tooltip="1 segment", warning=self.warning, confidence=0.97)
        loadable.referencedInstanceUIDs = list(database.instancesForSeries(CT_SERIES))
        loadable.kind, loadable.seriesInstanceUID, loadable.options = "SEG", SEG_SERIES, {"stack": 2}
        return [loadable]

    def load(self, loadable: Loadable, scene: Any, database: Any, progress: Any = None, **options: Any) -> list[Any]:
        from dicombridge import hierarchy

        self.calls.append(("load", loadable, database, options))
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", loadable.name)
        if self.failure:
            raise self.failure
        item = {"PatientID": "P1", "PatientName": "Doe^Jane", "StudyInstanceUID": STUDY, "Modality": "SEG"}
        hierarchy.add_series(scene, node, {**item, "SeriesInstanceUID": SEG_SERIES, "SeriesNumber": "7"})
        if progress:
            progress(1.0, "done")
        return [node]

    def export(
        self, nodes: list[Any], directory: Any, database: Any = None, progress: Any = None, **options: Any
    ) -> list[Path]:
        self.calls.append(("export", [node.GetName() for node in nodes], str(directory), options))
        if self.failure:
            raise self.failure
        return [Path(directory) / "seg.dcm"]

    def called(self, name: str) -> list[Any]:
        return [call for call in self.calls if call[0] == name]


def plugin_of(app: SlicerStandIn) -> Any:
    return app.modules.dicomPlugins[HOOK]()


def segmentation_item(app: SlicerStandIn, name: str = "Mine", in_study: bool = True) -> tuple[Any, int]:
    """Return a segmentation node that never saw DICOM, and its item below a study."""
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    hierarchy = app.hierarchy
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    if in_study:
        patient = hierarchy.GetItemByUID("DICOM", "P1") or hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "P")
        hierarchy.SetItemUID(patient, "DICOM", "P1")
        hierarchy.SetItemAttribute(patient, "DICOM.PatientName", "Doe^Jane")
        hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "P1")
        study = hierarchy.GetItemByUID("DICOM", STUDY) or hierarchy.CreateStudyItem(patient, "S")
        hierarchy.SetItemUID(study, "DICOM", STUDY)
        hierarchy.SetItemAttribute(study, "DICOM.StudyInstanceUID", STUDY)
        hierarchy.SetItemParent(item, study)
    return node, item
