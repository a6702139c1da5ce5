"""References to other objects: both ways to find them, and what is needed of a database."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

import dicombridge
from dicombridge.multiframe import open_multiframe, read_header
from dicombridge.references import Reference, instances_needed, references_of, references_of_file, series_of_references
from dicombridge.tolerance import quiet

FOLDERS = ["seg", "sr", "rt", "pm", "pr", "rwvm", "kos", "ann", "images/enhanced_mr"]


def by_instance(references: list[Reference]) -> dict[str, Reference]:
    return {one.sop_instance_uid or one.series_instance_uid: one for one in references}


def uids_in(dataset: Dataset) -> set[str]:
    """Return all Referenced SOP Instance UIDs of a dataset, found by pydicom's own walk."""
    found: set[str] = set()

    def note(_: Dataset, element: pydicom.DataElement) -> None:
        if element.tag == 0x00081155 and element.value:
            found.add(str(element.value))

    dataset.walk(note)
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_bytes_and_datasets_say_the_same(data: Path, folder: str) -> None:
    compared = 0
    for path in sorted((data / folder).rglob("*.dcm")):
        try:
            header = read_header(path)
        except dicombridge.DicomBridgeError:
            continue  # no object with a header that we read; other tests are about those
        with open_multiframe(path, pixels=False) as opened, quiet():
            from_bytes = by_instance(references_of_file(opened))
            from_dataset = by_instance(references_of(header, opened.table))
        assert from_bytes == from_dataset, path
        compared += len(from_bytes)
    assert compared > 0 or folder == "images/enhanced_mr"


@pytest.mark.parametrize("name", ["dcmqi_liver/liver.dcm", "ucsf_breast_06/seg_fractional_occupancy.dcm"])
def test_all_that_pydicom_finds(data: Path, name: str) -> None:
    path = data / "seg" / name
    dataset = pydicom.dcmread(path)
    with open_multiframe(path) as opened:
        found = {one.sop_instance_uid for one in references_of_file(opened)} - {""}  # "" names a whole series
    assert found == uids_in(dataset) - {str(dataset.SOPInstanceUID)}
    assert found


def test_workflow_and_predecessors_are_not_needed() -> None:
    header = Dataset()
    header.SOPInstanceUID = "1.1"
    step = Dataset()
    step.ReferencedSOPClassUID, step.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.3", "1.5"
    header.ReferencedPerformedProcedureStepSequence = [step]
    series = Dataset()
    series.SeriesInstanceUID = "1.7"
    series.ReferencedSOPSequence = [step]
    study = Dataset()
    study.StudyInstanceUID = "1.8"
    study.ReferencedSeriesSequence = [series]
    header.PredecessorDocumentsSequence = [study]
    assert references_of(header) == []


def test_nested_series_and_studies() -> None:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.9"
    series = Dataset()
    series.SeriesInstanceUID = "1.7"
    series.ReferencedInstanceSequence = [image]
    study = Dataset()
    study.StudyInstanceUID = "1.8"
    study.ReferencedSeriesSequence = [series]
    header = Dataset()
    header.StudiesContainingOtherReferencedInstancesSequence = [study]
    # A series named as a whole is a reference too; here it also names its instance.
    assert Reference("1.9", "1.2.840.10008.5.1.4.1.1.2", "1.7", "1.8") in references_of(header)


def test_whole_series_are_needed(data: Path) -> None:
    """The segmentation of two lesions names nine slices; what is offered is the whole PET."""
    with dicombridge.open_folder(data / "seg" / "qin_headneck_0024") as database:
        references = references_of(read_header(data / "seg/qin_headneck_0024/tumor_User1_Manual_Trial1.dcm"))
        (series,) = series_of_references(references, database)
        assert set(instances_needed(references, database)) == set(database.instancesForSeries(series))
        assert len(database.instancesForSeries(series)) == 299
    named = {one.sop_instance_uid for one in references} - {""}
    assert set(instances_needed(references, None)) == named


def test_a_study_is_no_instance() -> None:
    """RT Referenced Study Sequence names a study where others name an instance (PS3.3 C.8.8.5)."""

    def item(**attributes: object) -> Dataset:
        made = Dataset()
        for keyword, value in attributes.items():
            setattr(made, keyword, value)
        return made

    image = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.2.3.7")
    series = item(SeriesInstanceUID="1.2.3.6", ContourImageSequence=[image])
    study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID="1.2.3.5",
        RTReferencedSeriesSequence=[series],
    )
    header = item(ReferencedFrameOfReferenceSequence=[item(RTReferencedStudySequence=[study])])
    expected = Reference("1.2.3.7", "1.2.840.10008.5.1.4.1.1.2", "1.2.3.6", "1.2.3.5")
    found = references_of(header)
    assert expected in found
    assert [one.sop_instance_uid for one in found if one.sop_instance_uid] == ["1.2.3.7"]
