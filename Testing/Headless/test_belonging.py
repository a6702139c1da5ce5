"""Which images an object belongs to: instance, series, frame of reference, none; never silently guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from support.rt_structures import Drawing, Drawn, Images, circle, write_images, write_structure_set

import dicombridge
from dicombridge.belonging import Belonging, frames_of_content, frames_of_reference, images_of
from dicombridge.multiframe import read_header
from dicombridge.references import Reference


def found(folder: Path, **options: object) -> Belonging:
    database = dicombridge.open_folder(folder)
    try:
        return images_of(read_header(folder / "rs.dcm"), database, **options)  # type: ignore[arg-type]
    finally:
        database.close()


def write(folder: Path, images: Images, **options: object) -> None:
    image = images.uids[1] if options.get("refer", True) else ""
    region = Drawing("one", [Drawn(images.lps(circle(1, 10, 11, 5)), image=image)])
    write_structure_set(folder / "rs.dcm", [region], images, **options)  # type: ignore[arg-type]


def test_by_instance(tmp_path: Path) -> None:
    images = write_images(tmp_path / "ct")
    write(tmp_path, images)
    assert found(tmp_path) == Belonging(images.series, "instance", (images.series,), "")


def test_by_instance_although_the_frame_of_reference_is_made_up(tmp_path: Path) -> None:
    images = write_images(tmp_path / "ct")
    write(tmp_path, images, frame_of_reference="1.2.3.4")
    belonging = found(tmp_path)
    assert (belonging.series_instance_uid, belonging.how) == (images.series, "instance")
    assert "another frame of reference" in belonging.warning


def test_by_series_where_no_instance_is_there(tmp_path: Path) -> None:
    images = write_images(tmp_path / "ct")
    images.uids = [f"1.2.3.{number}" for number in range(5)]
    write(tmp_path, images, frame_of_reference="1.2.3.4")
    belonging = found(tmp_path)
    assert (belonging.series_instance_uid, belonging.how) == (images.series, "series")
    assert images.series in belonging.warning


def test_by_frame_of_reference_the_ct_with_most_slices(tmp_path: Path) -> None:
    few = write_images(tmp_path / "few", (3, 8, 8))
    many = write_images(tmp_path / "many", (6, 8, 8), frame_of_reference=few.frame_of_reference)
    mr = write_images(tmp_path / "mr", (9, 8, 8), frame_of_reference=few.frame_of_reference, modality="MR")
    write_images(tmp_path / "other", (9, 8, 8))
    write(tmp_path, few, refer=False)
    belonging = found(tmp_path)
    assert belonging.how == "frame of reference"
    assert belonging.series == (many.series, few.series, mr.series)
    assert "of 3 image series" in belonging.warning


def test_by_frame_of_reference_of_the_same_patient_first(tmp_path: Path) -> None:
    other = write_images(tmp_path / "other", (9, 8, 8), patient="P2")
    own = write_images(tmp_path / "own", (3, 8, 8), frame_of_reference=other.frame_of_reference, modality="MR")
    write(tmp_path, own, refer=False)
    assert found(tmp_path).series == (own.series, other.series)


@pytest.mark.parametrize("refer", [True, False])
def test_another_patient_id_is_told(tmp_path: Path, refer: bool) -> None:
    images = write_images(tmp_path / "ct", patient="P2")
    write(tmp_path, images, refer=refer)
    belonging = found(tmp_path)
    assert belonging.series_instance_uid == images.series
    assert "another Patient ID (P2, not P1)" in belonging.warning


def test_none(tmp_path: Path) -> None:
    images = write_images(tmp_path / "elsewhere")
    folder = tmp_path / "here"
    write(folder, images)
    belonging = found(folder)
    assert (belonging.series_instance_uid, belonging.how, belonging.series) == ("", "none", ())
    assert "not in the database" in belonging.warning
    write(folder, images, refer=False)
    assert "names no images" in found(folder).warning


@pytest.mark.parametrize("references", [[], [Reference("1.2.3")]])
def test_without_a_database(references: list[Reference]) -> None:
    belonging = images_of(references, None)
    assert belonging.how == "none"
    assert belonging.warning


def test_references_alone_with_frames_of_reference(tmp_path: Path) -> None:
    images = write_images(tmp_path / "ct")
    database = dicombridge.open_folder(tmp_path)
    assert images_of([], database, images.frame_of_reference).series_instance_uid == images.series
    assert images_of([], database, ["1.2", images.frame_of_reference]).series_instance_uid == images.series
    assert images_of([], database).how == "none"
    database.close()


def test_a_dose_belongs_to_no_dose(data: Path) -> None:
    """Of what an object refers to, only images count."""
    database = dicombridge.open_folder(data / "rt" / "eclipse_breast")
    assert images_of(read_header(data / "rt/eclipse_breast/rtdose.dcm"), database).how != "instance"
    database.close()


def test_content_lies_where_the_regions_lie() -> None:
    """A structure set may name the frame that its regions were drawn in beside that of the regions."""
    header = Dataset()
    header.ReferencedFrameOfReferenceSequence = [Dataset(), Dataset()]
    for item, uid in zip(header.ReferencedFrameOfReferenceSequence, ("1.2.1", "1.2.2"), strict=True):
        item.FrameOfReferenceUID = uid
    assert frames_of_content(header) == ["1.2.1", "1.2.2"]
    region = Dataset()
    region.ReferencedFrameOfReferenceUID = "1.2.2"
    header.StructureSetROISequence = [region, region]
    assert frames_of_content(header) == ["1.2.2"]
    assert frames_of_reference(header) == ["1.2.1", "1.2.2"]
