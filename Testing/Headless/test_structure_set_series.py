"""Structure sets on several image series, and what they name beside images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from pydicom.dataset import Dataset
from support.rt_set_exports import masks_of_node
from support.rt_structures import Drawing, Drawn, Images, circle, write_images, write_structure_set
from test_structure_set_roundtrip import contour_items

import dicombridge

OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
SHAPE = (5, 20, 24)


@pytest.fixture
def series(tmp_path: Path) -> tuple[Images, Images]:
    """CT and oblique MR of one study, each with a frame of reference of its own."""
    ct = write_images(tmp_path / "all" / "ct")
    return ct, write_images(tmp_path / "all" / "mr", orientation=OBLIQUE, modality="MR", study=ct.study)


def on_both(path: Path, ct: Images, mr: Images) -> Path:
    """A structure set whose references name the CT alone; contours of one region name images of the MR."""
    return write_structure_set(
        path,
        [
            Drawing("on CT", [Drawn(ct.lps(circle(1, 10, 11, 5)), image=ct.uids[1])], observation={}),
            Drawing(
                "on MR",
                [Drawn(mr.lps(circle(place, 10, 11, 5)), image=mr.uids[place]) for place in (2, 3)],
                structure={"ReferencedFrameOfReferenceUID": mr.frame_of_reference},
                observation={},
            ),
        ],
        ct,
    )


def exported(nodes: list[Any], folder: Path, database: Any, **options: Any) -> Path:
    (path,) = dicombridge.export(nodes, folder, kind="RTSTRUCT", database=database, **options)
    return path


def images_by_frame(dataset: Dataset) -> dict[str, set[str]]:
    return {
        str(frame.FrameOfReferenceUID): {
            str(image.ReferencedSOPInstanceUID)
            for study in frame.RTReferencedStudySequence
            for one in study.RTReferencedSeriesSequence
            for image in one.ContourImageSequence
        }
        for frame in dataset.ReferencedFrameOfReferenceSequence
    }


@pytest.mark.parametrize("volumes", [False, True], ids=["alone", "with the volumes"])
def test_regions_of_two_series_come_back(volumes: bool, series: tuple[Images, Images], tmp_path: Path) -> None:
    """Two segmentations are one structure set again, to the byte; each frame of reference has its own images."""
    ct, mr = series
    path = on_both(tmp_path / "rs.dcm", ct, mr)
    scene = dicombridge.new_scene()
    with dicombridge.open_folder(tmp_path / "all") as database:
        if volumes:
            dicombridge.load(tmp_path / "all", scene=scene, database=database)
        nodes = dicombridge.load(path, scene=scene, database=database)
        again = exported(nodes, tmp_path / "out", database)
        drawn = exported(nodes, tmp_path / "drawn", database, contours="pixel")
        assert contour_items(again) == contour_items(path)
        for one in (again, drawn):
            assert faults(one) == []
            dataset = pydicom.dcmread(one)
            assert images_by_frame(dataset) == {
                ct.frame_of_reference: set(ct.uids),
                mr.frame_of_reference: set(mr.uids),
            }
            assert [str(item.ReferencedFrameOfReferenceUID) for item in dataset.StructureSetROISequence] == [
                ct.frame_of_reference,
                mr.frame_of_reference,
            ]
        read = dicombridge.load(drawn, scene=dicombridge.new_scene(), database=database)
        for images, name in ((ct, "on CT"), (mr, "on MR")):
            before, after = (
                next(masks[name] for masks in (masks_of_node(node, images, SHAPE) for node in segmentations(found))
                     if name in masks)
                for found in (nodes, read)
            )  # fmt: skip
            assert before.any()
            assert np.array_equal(before, after)


def segmentations(nodes: list[Any]) -> list[Any]:
    return [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]


def test_an_earlier_version_is_no_image(
    series: tuple[Images, Images], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a structure set was made from is its predecessor: neither needed to show it, nor among its images."""
    ct, mr = series
    folder = tmp_path / "all"
    on_both(folder / "rs.dcm", ct, mr)
    with dicombridge.open_folder(folder) as database:
        scene = dicombridge.new_scene()
        second = exported(dicombridge.load(folder / "rs.dcm", scene=scene, database=database), folder, database)
    first = pydicom.dcmread(folder / "rs.dcm").SOPInstanceUID
    assert pydicom.dcmread(second).PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == first
    with dicombridge.open_folder(folder) as database:
        (loadable,) = [one for one in dicombridge.examine(database) if one.files == [str(second)]]
        assert first not in loadable.referencedInstanceUIDs
        scene = dicombridge.new_scene()
        third = exported(dicombridge.load(loadable, scene=scene, database=database), tmp_path / "out", database)
    assert caplog.text == ""
    named = set().union(*images_by_frame(pydicom.dcmread(third)).values())
    assert named == {*ct.uids, *mr.uids}


def test_only_images_are_named_as_images(series: tuple[Images, Images], tmp_path: Path) -> None:
    """A region may tell which structure set it was copied from (PS3.3 C.8.8.5.5): that lies on no slice."""
    ct, _ = series
    folder = tmp_path / "all"
    shutil.rmtree(folder / "mr")
    drawing = [Drawing("on CT", [Drawn(ct.lps(circle(1, 10, 11, 5)), image=ct.uids[1])], observation={})]
    origin = pydicom.dcmread(write_structure_set(folder / "first.dcm", drawing, ct))
    definition = Dataset()
    definition.ReferencedSOPClassUID, definition.ReferencedSOPInstanceUID = origin.SOPClassUID, origin.SOPInstanceUID
    definition.ReferencedROINumber = 1
    drawing[0].structure = {"DefinitionSourceSequence": [definition]}
    path = write_structure_set(folder / "rs.dcm", drawing, ct)
    with dicombridge.open_folder(folder) as database:
        scene = dicombridge.new_scene()
        again = exported(dicombridge.load(path, scene=scene, database=database), tmp_path / "out", database)
    dataset = pydicom.dcmread(again)
    assert images_by_frame(dataset) == {ct.frame_of_reference: set(ct.uids)}
    kept = dataset.StructureSetROISequence[0].DefinitionSourceSequence[0]
    assert kept.ReferencedSOPInstanceUID == origin.SOPInstanceUID


CASES = {
    "instances": ({}, True, ""),
    "invented frame of reference": ({"frame_of_reference": "1.2.3.4"}, True, "another frame of reference"),
    "other patient": ({"patient": "P9"}, True, "another Patient ID"),
    "frame of reference alone": ({"refer": False}, False, "by its frame of reference it was put on an image series"),
    "that of another patient": ({"refer": False, "patient": "P9"}, False, "P1, not P9"),
}


@pytest.mark.parametrize(("values", "images", "said"), CASES.values(), ids=CASES)
def test_examination_finds_the_images_that_loading_finds(
    values: dict[str, Any], images: bool, said: str, series: tuple[Images, Images], tmp_path: Path
) -> None:
    """What is offered with a structure set, and what is said of it, is what it is then loaded on."""
    ct, _ = series
    contours = [Drawn(ct.lps(circle(1, 10, 11, 5)), image=ct.uids[1] if images else "")]
    path = write_structure_set(tmp_path / "all" / "rs.dcm", [Drawing("on CT", contours)], ct, **values)
    with dicombridge.open_folder(tmp_path / "all") as database:
        (loadable,) = [one for one in dicombridge.examine(database) if one.files == [str(path)]]
        node = dicombridge.load(loadable, database=database)[0]
    assert set(loadable.referencedInstanceUIDs) == set(ct.uids)
    assert said in loadable.warning
    assert bool(loadable.warning) == bool(said)
    assert np.array_equal(masks_of_node(node, ct, SHAPE)["on CT"].any(axis=(1, 2)), [False, True, False, False, False])


def test_without_any_images(series: tuple[Images, Images], tmp_path: Path) -> None:
    ct, _ = series
    contours = [Drawn(ct.lps(circle(1, 10, 11, 5)))]
    path = write_structure_set(tmp_path / "rs.dcm", [Drawing("alone", contours)], refer=False)
    with dicombridge.open_folder(tmp_path) as database:
        (loadable,) = [one for one in dicombridge.examine(database) if one.files == [str(path)]]
    assert loadable.referencedInstanceUIDs == []
    assert "will have a grid of their own" in loadable.warning
