"""The structured reports that tests are made of are what they are meant to be: other programs read them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from conformance import faults
from support.sr_dcmqi import MEASURED, tid1500_json, write_tid1500
from support.sr_images import ORIENTATIONS, SeriesOfImages, write_multi_frame, write_series
from support.sr_objects import CASES
from support.sr_odd import BROKEN, ODD, write_million_points
from support.sr_templates import OTHERS, write_large, write_other

INVALID = {
    "basic text": "Unrecognized enumerated value = <SCOORD>",
    "no meanings": "CodeMeaning",
    "empty patient": "StudyDate|StudyTime",
}
"""What dciodvfy finds in documents that are wrong on purpose, as the programs are that write them."""
NOT_FOR_HIGHDICOM = {"basic text", "no meanings", "by reference"}


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_images(tmp_path: Path, orientation: str, modality: str) -> None:
    images = write_series(tmp_path, orientation, modality)
    assert [faults(path) for path in images.paths] == [[]] * 5
    volume = hd.get_volume_from_series([pydicom.dcmread(path) for path in images.paths])
    _assert_in_place(images, volume)


def test_multi_frame_image(tmp_path: Path) -> None:
    images = write_multi_frame(tmp_path)
    assert faults(images.paths[0]) == []
    _assert_in_place(images, hd.imread(images.paths[0]).get_volume())


def _assert_in_place(images: SeriesOfImages, volume: Any) -> None:
    """The voxels' centres that highdicom finds are those of the equation; planes may run the other way."""
    for plane in range(images.shape[0]):
        points = images.of_pixels(plane, [(0, 0), (7, 0), (0, 9)])
        index = volume.map_reference_to_indices(points)
        np.testing.assert_allclose(index[:, 1:], [(0, 0), (0, 7), (9, 0)], atol=1e-6)
        np.testing.assert_allclose(index[:, 0], np.rint(index[0, 0]), atol=1e-6)
    first = images.of_graphic(0, [(0.5, 0.5)])
    np.testing.assert_array_equal(first, images.origins[:1])


@pytest.mark.parametrize("name", CASES)
def test_reports_by_highdicom(tmp_path: Path, name: str) -> None:
    path, expected = CASES[name](tmp_path)
    errors = faults(path)
    assert [error for error in errors if not expected.faults or not re.search(expected.faults, error)] == []
    content = hd.sr.srread(path).content
    groups = [
        *content.get_planar_roi_measurement_groups(),
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    assert {group.tracking_uid for group in groups} == {group.tracking_uid for group in expected.groups}
    said = {group.tracking_uid: group for group in expected.groups}
    for group in groups:
        # highdicom takes Time Point Order, a NUM that is context of the group, for a measurement too.
        values = [float(one.value) for one in group.get_measurements() if one.name.value != "126073"]
        assert values == [one.value for one in said[group.tracking_uid].measurements]


@pytest.mark.parametrize("name", ODD)
def test_odd_documents(tmp_path: Path, name: str) -> None:
    path, expected = ODD[name](tmp_path)
    errors = faults(path)
    assert [error for error in errors if name not in INVALID or not re.search(INVALID[name], error)] == []
    assert bool(errors) == (name in INVALID)
    assert expected.groups
    if name not in NOT_FOR_HIGHDICOM:
        hd.sr.srread(path)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_documents_are_dicom(tmp_path: Path, name: str) -> None:
    path, expected = BROKEN[name](tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        assert len(str(dataset)) > 1000
    groups = dataset.ContentSequence[-1].ContentSequence
    assert [group.ContentSequence[0].TextValue for group in groups] == ["bad", "good"]
    assert [group.tracking_identifier for group in expected.groups] == ["good"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_templates(tmp_path: Path, name: str) -> None:
    path, images = write_other(tmp_path, name)
    dataset, other = pydicom.dcmread(path), OTHERS[name]
    assert dataset.SOPClassUID == other.sop_class
    assert dataset.ConceptNameCodeSequence[0].CodeValue == other.title[0]
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == other.template
    assert dataset.StudyInstanceUID == images.study
    if other.checked:
        assert faults(path) == []
    if name == "key objects":
        references = hd.ko.KeyObjectSelectionDocument.from_dataset(dataset).content.get_references()
        assert [one.referenced_sop_instance_uid for one in references] == [images.uids[0], images.uids[2]]


def test_large_report(tmp_path: Path) -> None:
    path = write_large(tmp_path, 30)
    assert faults(path) == []
    groups = hd.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == [f"group {number}" for number in range(30)]
    for number, group in enumerate(groups):
        assert [one.value for one in group.get_measurements()] == [number + 0.5, number + 0.25]
        assert group.roi.value.shape == (20, 3)
        np.testing.assert_array_equal(group.roi.value[:, 2], number)


@pytest.mark.parametrize("explicit", [False, True])
def test_a_million_points(tmp_path: Path, explicit: bool) -> None:
    """Not for dciodvfy, which takes minutes for them."""
    path, expected = write_million_points(tmp_path, explicit=explicit)
    dataset = pydicom.dcmread(path)
    item = dataset.ContentSequence[-1].ContentSequence[0].ContentSequence[-1]
    raw = item.get_item(0x00700022)
    assert ("UN" if explicit else None) == raw.VR
    found = np.frombuffer(raw.value, "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(found, expected.groups[0].regions[0].points)


def test_reports_by_dcmqi(tmp_path: Path, data: Path) -> None:
    path = write_tid1500(tmp_path, data)
    assert faults(path) == []
    (group,) = tid1500_json(path)["Measurements"]
    assert group["TrackingIdentifier"] == "Liver 1"
    assert [float(one["value"]) for one in group["measurementItems"]] == [float(one["value"]) for one in MEASURED]
