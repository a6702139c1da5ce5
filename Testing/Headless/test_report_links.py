"""What groups of a report refer to - segmentations, structure sets, real world value maps - is offered and linked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from support.items import read
from support.rt_structures import Drawing, Drawn, Images, write_structure_set
from support.rwv_objects import group as mapped_images
from support.rwv_objects import mapping_item, write_object
from support.sr_documents import AREA, COMPREHENSIVE_3D_SR, MM2, content, dcm, document, group, number, save
from support.sr_documents import measurement_report as report_of
from support.sr_images import SeriesOfImages, write_series
from support.sr_nodes import column_names, column_of
from support.sr_objects import write_segmentation

import dicombridge
from dicombridge.cli.common import load_all, read_scene, save_scene
from dicombridge.links import AWAITED_ATTRIBUTE
from dicombridge.report import nodes_of_group
from dicombridge.report.kept import GROUP_ROLE
from dicombridge.report.reading import read_report

SEG, RTSTRUCT, RWVM = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("66.4", "481.3", "67"))
SEGMENT, FRAME = dcm("121191", "Referenced Segment"), dcm("121214", "Referenced Segmentation Frame")
SPACE, IDENTIFIER = dcm("130488", "Region in Space"), dcm("130489", "Referenced Region of Interest Identifier")
MAP = dcm("126100", "Real World Value Map used for measurement")
SEGMENTATION, VOLUME = "vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode"

ROWS = ("SEG", "SEG", "SEG", "RTSTRUCT", "RTSTRUCT", "RWVM")
"""What each group of the report names."""


@dataclass
class Study:
    """What was written below a folder, each object in a folder of its own."""

    folder: Path
    report: Path
    uids: dict[str, str]


def of_reference(value_type: str, concept: tuple[str, str, str], sop_class: str, uid: str, **more: Any) -> Dataset:
    """An item that names an instance; ``more`` are attributes of the reference."""
    made = content(value_type, concept, (sop_class, uid))
    for keyword, value in more.items():
        setattr(made.ReferencedSOPSequence[0], keyword, value)
    return made


def write_structures(path: Path, images: SeriesOfImages) -> str:
    series = Images(images.folder, images.uids, images.series, images.study, images.frame_of_reference, "CT", np.eye(4))
    square = images.of_pixels(1, [(4, 4), (12, 4), (12, 12), (4, 12)])
    regions = [Drawing("left", number=2), Drawing("right", [Drawn(square)], number=7)]
    return str(read(write_structure_set(path, regions, series)).SOPInstanceUID)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    images = write_series(folder / "images", "axial")
    seg = write_segmentation(folder / "seg" / "seg.dcm", images).SOPInstanceUID
    structures = write_structures(folder / "rtstruct" / "structures.dcm", images)
    item = mapping_item(0.5, -10.0, first=-1024, last=3071, vr="SS")
    path = write_object(folder / "rwvm" / "rwvm.dcm", images.datasets, [mapped_images(images.datasets, item)])
    values = read(path).SOPInstanceUID
    region = content("TEXT", IDENTIFIER, "7", relation="HAS PROPERTIES")
    space = of_reference("COMPOSITE", SPACE, RTSTRUCT, structures)
    space.ContentSequence = [region]
    named = {
        "segment": of_reference("IMAGE", SEGMENT, SEG, seg, ReferencedSegmentNumber=2),
        "segment's frame": of_reference("IMAGE", FRAME, SEG, seg, ReferencedSegmentNumber=1, ReferencedFrameNumber=3),
        "segmentation": of_reference("IMAGE", SEGMENT, SEG, seg),
        "structure": space,
        "structure set": of_reference("COMPOSITE", SPACE, RTSTRUCT, structures),
        "values": of_reference("COMPOSITE", MAP, RWVM, values),
    }
    groups = [group(name, generate_uid(), number(AREA, 3.5, MM2), one) for name, one in named.items()]
    report = document(report_of(groups), COMPREHENSIVE_3D_SR, images)
    return Study(folder, save(report, folder / "sr" / "sr.dcm"), {"SEG": seg, "RTSTRUCT": structures, "RWVM": values})


@pytest.fixture
def database(study: Study) -> Iterator[Any]:
    with dicombridge.open_folder(study.folder) as opened:
        yield opened


def tables_of(scene: Any) -> list[Any]:
    return [
        node
        for place in range(scene.GetNumberOfNodesByClass("vtkMRMLTableNode"))
        if "Tracking UID" in column_names(node := scene.GetNthNodeByClass(place, "vtkMRMLTableNode"))
    ]


def assert_linked(scene: Any, study: Study) -> None:
    """Each row leads to the nodes of what it names, and to no others."""
    (table,) = tables_of(scene)
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    classes = {"SEG": SEGMENTATION, "RTSTRUCT": SEGMENTATION, "RWVM": VOLUME}
    for row, kind in zip(column_of(table, "Group"), ROWS, strict=True):
        (node,) = nodes_of_group(table, row)
        assert node.GetClassName() == classes[kind]
        assert hierarchy.GetItemUID(hierarchy.GetItemByDataNode(node), "DICOMInstanceUID") == study.uids[kind]
    linked = [table.GetNthNodeReferenceID(GROUP_ROLE, n) for n in range(table.GetNumberOfNodeReferences(GROUP_ROLE))]
    assert len(linked) == len(set(linked)) == 3
    assert table.GetAttribute(AWAITED_ATTRIBUTE) is None


def test_what_groups_name_is_a_reference(study: Study, database: Any) -> None:
    (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "SR"]
    assert set(study.uids.values()) <= set(loadable.referencedInstanceUIDs)
    assert loadable.warning == ""


def test_what_groups_name_is_read(study: Study, database: Any) -> None:
    groups = read_report(str(study.report), "SR", database).groups
    found = [
        [(one.sop_instance_uid, one.segments, one.frames) for one in of_kind]
        for group in groups
        for of_kind in (group.segments, group.structures, group.real_world_value_maps)
        if of_kind
    ]
    seg, structures, values = study.uids.values()
    assert found == [
        [(seg, (2,), ())], [(seg, (1,), (3,))], [(seg, (), ())],
        [(structures, (7,), ())], [(structures, (), ())], [(values, (), ())],
    ]  # fmt: skip
    assert [group.evaluations for group in groups] == [[]] * 6


def test_what_groups_name_is_in_the_table(study: Study, database: Any) -> None:
    nodes = dicombridge.load(study.report, scene=dicombridge.new_scene(), database=database)
    seg, structures, values = study.uids.values()
    assert column_of(nodes[0], "Segment") == [f"{seg} segment 2", f"{seg} segment 1 frame 3", seg, "", "", ""]
    assert column_of(nodes[0], "Structure") == ["", "", "", f"{structures} ROI 7", structures, ""]
    assert column_of(nodes[0], "Real World Value Map") == ["", "", "", "", "", values]


def test_a_folder_is_linked(study: Study) -> None:
    scene = dicombridge.new_scene()
    dicombridge.load(str(study.folder), scene=scene)
    assert_linked(scene, study)


def test_paths_of_the_command_line_are_linked(study: Study) -> None:
    scene = dicombridge.new_scene()
    load_all([str(study.report), *(str(study.folder / name) for name in ("seg", "rwvm", "rtstruct", "images"))], scene)
    assert_linked(scene, study)


@pytest.mark.parametrize("order", [("SR", "RWVM", "SEG", "RTSTRUCT"), ("SEG", "RTSTRUCT", "SR", "RWVM")])
def test_objects_are_linked_in_whatever_order_they_come(study: Study, database: Any, order: tuple[str, ...]) -> None:
    by_kind = {one.kind: one for one in dicombridge.examine(database)}
    scene = dicombridge.new_scene()
    loaded: set[str] = set()
    for kind in order:
        dicombridge.load(by_kind[kind], scene=scene, database=database)
        loaded |= {study.uids[kind]} if kind in study.uids else set()
        for table in tables_of(scene):
            awaited = json.loads(table.GetAttribute(AWAITED_ATTRIBUTE) or "{}").get(GROUP_ROLE, [])
            assert set(awaited) == set(study.uids.values()) - loaded
    assert_linked(scene, study)


def test_a_saved_scene_waits_too(study: Study, database: Any, tmp_path: Path) -> None:
    by_kind = {one.kind: one for one in dicombridge.examine(database)}
    first = dicombridge.new_scene()
    for kind in ("SR", "SEG"):
        dicombridge.load(by_kind[kind], scene=first, database=database)
    scene = read_scene(str(save_scene(first, tmp_path / "scene.mrb")))
    for kind in ("RTSTRUCT", "RWVM"):
        dicombridge.load(by_kind[kind], scene=scene, database=database)
    assert_linked(scene, study)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 3}', "null"])
def test_what_somebody_edited_is_waited_for_no_more(study: Study, database: Any, text: str) -> None:
    by_kind = {one.kind: one for one in dicombridge.examine(database)}
    scene = dicombridge.new_scene()
    (table, *_) = dicombridge.load(by_kind["SR"], scene=scene, database=database)
    table.SetAttribute(AWAITED_ATTRIBUTE, text)
    dicombridge.load(by_kind["SEG"], scene=scene, database=database)
    assert table.GetNumberOfNodeReferences(GROUP_ROLE) == 0


def test_a_load_that_fails_links_nothing(study: Study, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    by_kind = {one.kind: one for one in dicombridge.examine(database)}
    scene = dicombridge.new_scene()
    (table, *_) = dicombridge.load(by_kind["SR"], scene=scene, database=database)
    before = table.GetAttribute(AWAITED_ATTRIBUTE)
    broken = by_kind["RTSTRUCT"]
    monkeypatch.setattr(broken, "files", [str(study.folder / "missing.dcm")])
    with pytest.raises(dicombridge.DicomBridgeError):
        dicombridge.load([by_kind["SEG"], broken], scene=scene, database=database)
    assert table.GetNumberOfNodeReferences(GROUP_ROLE) == 0
    assert table.GetAttribute(AWAITED_ATTRIBUTE) == before
