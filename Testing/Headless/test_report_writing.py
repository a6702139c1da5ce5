"""What reports say after somebody worked with them: deleted, renamed, joined; and of what nothing is known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_report_export
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from support.seg_exports import segmentation_node
from support.sr_documents import (
    COMPREHENSIVE_3D_SR,
    IMAGE_REGION,
    LENGTH,
    MM,
    content,
    dcm,
    document,
    group,
    measurement_report,
    number,
    save,
)
from support.sr_exports import child, concept, groups_of, items_of, numbers_of, same_bytes, written
from support.sr_images import SeriesOfImages, write_series
from support.sr_nodes import markups_of
from test_report_contents import add
from test_report_editing import Loaded, untouched, write_three
from test_report_export import volume_of
from test_report_measuring import statistics_table

import dicombridge
from dicombridge.errors import ExportError
from dicombridge.report import export
from dicombridge.report.kept import SHOWN_ATTRIBUTE

COMMENT = dcm("121106", "Comment")
segmented = test_report_export.segmented


@pytest.fixture
def images(tmp_path: Path) -> SeriesOfImages:
    return write_series(tmp_path / "in" / "ct", "oblique")


@pytest.fixture
def database(tmp_path: Path, images: SeriesOfImages) -> Any:
    with dicombridge.open_folder(tmp_path / "in") as found:
        yield found


@pytest.fixture
def three(tmp_path: Path) -> Loaded:
    return Loaded(tmp_path / "in", write_three(tmp_path / "in")[0])


def report_of(folder: Path, groups: Sequence[Dataset], **values: Any) -> Loaded:
    """A loaded report of some groups."""
    ds = document(measurement_report(groups), COMPREHENSIVE_3D_SR, **values)
    return Loaded(folder, save(ds, folder / "sr" / "sr.dcm"))


def line_in_space(z: float = 0) -> Dataset:
    points = np.array([(0, 0, z), (3, 4, z)], dtype=np.float32)
    return content("SCOORD3D", IMAGE_REGION, ("POLYLINE", points, "1.2.3.4"))


# --- Deleted ---------------------------------------------------------------------------------------------------------


def test_what_had_no_image_when_it_was_loaded_was_not_deleted(tmp_path: Path) -> None:
    path, _ = write_three(tmp_path / "in")
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(path, scene=scene)
    assert nodes[0].GetAttribute(SHOWN_ATTRIBUTE).split() == ["1"]
    with dicombridge.open_folder(tmp_path / "in") as database:
        again = written(dicombridge.export(nodes[0], tmp_path / "out", "SR", database))
    before = Loaded(tmp_path / "in", path).before
    assert list(groups_of(again)) == ["first", "odd", "last"]
    untouched(before, again)


def test_what_was_deleted_is_not_there_without_its_image_either(three: Loaded, tmp_path: Path) -> None:
    three.scene.RemoveNode(three.markup("odd"))
    again = written(dicombridge.export(three.table, tmp_path / "out", "SR"))
    assert list(groups_of(again)) == ["first", "last"]


def test_a_table_of_an_earlier_version(three: Loaded) -> None:
    three.table.RemoveAttribute(SHOWN_ATTRIBUTE)
    three.scene.RemoveNode(three.markup("odd"))
    assert list(groups_of(three.export())) == ["first", "last"]


def test_a_table_without_content(three: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    empty = three.scene.AddNewNodeByClass("vtkMRMLTableNode", "empty")
    empty.SetAttribute("DICOMBridge.Kind", "SR")
    empty.SetAndObserveTable(None)
    with caplog.at_level(logging.WARNING):
        untouched(three.before, three.export([three.table, empty]))
    with pytest.raises(ExportError, match="nothing to report"):
        three.export([empty])


# --- Segments --------------------------------------------------------------------------------------------------------


def test_the_volume_in_which_segments_are_measured(
    scene: Any,
    segmented: Any,
    tmp_path: Path,
    images: SeriesOfImages,
    database: Any,
) -> None:
    volume, node, values = segmented
    (path,) = dicombridge.export([node], tmp_path / "seg", "SEG", database, source=volume)
    options = {"source": images.series, "segmentation": path}
    found = []
    for number_of, chosen in enumerate((None, volume)):
        paths = export([node], tmp_path / f"out {number_of}", database, volume=chosen, **options)
        found.append(numbers_of(groups_of(written(paths))["liver"]))
    mean = next(value for name, value in found[1].items() if name.startswith("Mean"))
    assert mean == pytest.approx(values["liver"].mean())
    for wrong, told in ((5, "not 5"), (node, "not a vtkMRMLSegmentationNode")):
        with pytest.raises(ExportError, match=f"volume is the scalar volume node .* {told}"):
            export([node], tmp_path / "no", database, volume=wrong, **options)


def _segmentations(scene: Any, tmp_path: Path, database: Any, volume: Any, **names: Sequence[str]) -> list[Any]:
    """Segmentations that were loaded from DICOM, with segments of some names."""
    loaded = []
    for name, segments in names.items():
        masks = {}
        for place, segment in enumerate(segments):
            masks[segment] = np.zeros((4, 4, 4), dtype=bool)
            masks[segment][place, 1:3, 1:3] = True
        node = segmentation_node(scene, masks, np.eye(4))
        (path,) = dicombridge.export([node], tmp_path / name, "SEG", database, grid="own", source=volume)
        scene.RemoveNode(node)
        loaded += dicombridge.load(path, scene=scene)
    return loaded


def test_each_table_is_of_its_segmentation(
    scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    volume = volume_of(images, scene, database)
    names = {"first": ["liver", "spleen"], "second": ["kidney", "heart"], "third": ["lung", "rib"]}
    nodes = _segmentations(scene, tmp_path, database, volume, **names)
    tables = [statistics_table(scene, one) for one in (["kidney", "heart"], ["liver", "spleen"])]
    other = scene.AddNewNodeByClass("vtkMRMLTableNode", "other")
    again = statistics_table(scene, ["kidney", "heart"])
    again.SetName("again")
    with caplog.at_level(logging.WARNING):
        dataset = written(export([*nodes, *tables, other, again], tmp_path / "out", database))
    found = {name: numbers_of(one)["Volume"] for name, one in groups_of(dataset).items()}
    assert {name: found[name] for name in ("liver", "spleen", "kidney", "heart")} == {
        "liver": 10.5, "spleen": 20.5, "kidney": 10.5, "heart": 20.5,
    }  # fmt: skip
    assert (found["lung"], found["rib"]) == pytest.approx((4, 4))
    assert "'other' was passed over: it is no table of Segment Statistics" in caplog.text
    assert "'again' was passed over: its segmentation has a table already" in caplog.text
    # Tables alone find their segmentations in the scene.
    alone = groups_of(written(export(tables, tmp_path / "alone", database)))
    assert sorted(alone) == ["heart", "kidney", "liver", "spleen"]


def test_a_table_of_segments_that_two_segmentations_have(
    scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any
) -> None:
    volume = volume_of(images, scene, database)
    nodes = _segmentations(scene, tmp_path, database, volume, first=["liver"], second=["liver"])
    with pytest.raises(ExportError, match="2 of the segmentations have all segments of the table"):
        export([*nodes, statistics_table(scene, ["liver"])], tmp_path / "out", database)


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Benign & malign", "one\nof two lines", "A&B &amp; C"])
def test_names_that_nodes_cannot_have(tmp_path: Path, name: str) -> None:
    point = content("SCOORD3D", IMAGE_REGION, ("POINT", np.zeros((1, 3), np.float32), "1.2.3.4"))
    groups = [group(name, generate_uid(), line_in_space()), group(f"{name} 2", generate_uid(), point)]
    groups += [group(f"{name} {place}", generate_uid(), line_in_space(), line_in_space(9)) for place in (3, 4)]
    loaded = report_of(tmp_path / "in", groups)
    again = loaded.export()
    pairs = zip(items_of(loaded.before)[1:], items_of(again)[1:], strict=True)
    assert all(same_bytes(*pair) for pair in pairs)
    assert list(groups_of(loaded.export(loaded.nodes))) == list(groups_of(loaded.before))


def test_new_names_of_lines_points_and_parts(tmp_path: Path) -> None:
    point = content("SCOORD3D", IMAGE_REGION, ("POINT", np.zeros((1, 3), np.float32), "1.2.3.4"))
    groups = [
        group("Lesion 1", generate_uid(), line_in_space(), number(LENGTH, "5.0", MM)),
        group("of two", generate_uid(), line_in_space(), line_in_space(9), template="1501"),
        *(group(name, generate_uid(), point) for name in ("A", "B")),
        group("single", generate_uid(), point, number(LENGTH, "5.0", MM)),
    ]
    loaded = report_of(tmp_path / "in", groups)
    by_name = {node.GetName(): node for node in markups_of(loaded.nodes)}
    by_name["Lesion 1"].SetName("Lesion 12")
    by_name["of two (2)"].SetName("named by its second part")
    by_name["single"].SetName("single node")
    points = next(node for node in by_name.values() if node.GetNthControlPointLabel(1) == "B")
    points.SetNthControlPointLabel(1, "A B")
    found = list(groups_of(loaded.export()))
    assert found == ["Lesion 12", "named by its second part", "A", "A B", "single node"]


# --- Texts -----------------------------------------------------------------------------------------------------------


def test_two_comments(tmp_path: Path) -> None:
    comments = [content("TEXT", COMMENT, text) for text in ("grows", "seen twice")]
    groups = [group("Lesion", generate_uid(), comments[0], line_in_space(), comments[1])]
    loaded = report_of(tmp_path / "in", groups)
    untouched(loaded.before, loaded.export())
    (node,) = markups_of(loaded.nodes)
    node.SetNthControlPointDescription(0, "shrinks")
    found = groups_of(loaded.export())["Lesion"]
    assert [one.TextValue for one in items_of(found) if concept(one) == "121106"] == ["shrinks"]
    loaded.set_cell("Comment", 0, "")
    node.SetNthControlPointDescription(0, "")
    assert child(groups_of(loaded.export())["Lesion"], "121106") is None


def test_a_name_that_was_emptied_stays(three: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    three.set_cell("Tracking Identifier", 1, "")
    with caplog.at_level(logging.WARNING):
        untouched(three.before, three.export())
    assert "'odd': a measurement group has a Tracking Identifier; the one that was removed stays" in caplog.text


def test_geometry_below_a_text_is_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    below = line_in_space()
    below.RelationshipType = "INFERRED FROM"
    del below.ConceptNameCodeSequence
    root = measurement_report([group("Lesion", generate_uid(), line_in_space(9))])
    root.ContentSequence.append(content("TEXT", dcm("121071", "Finding"), "a mass", below))
    loaded = Loaded(tmp_path / "in", save(document(root, COMPREHENSIVE_3D_SR), tmp_path / "in" / "sr.dcm"))
    for node in markups_of(loaded.nodes):
        if node.GetName() != "Lesion":
            node.SetName("named")
            node.SetNthControlPointDescription(0, "said")
    with caplog.at_level(logging.WARNING):
        again = loaded.export()
    pairs = zip(items_of(loaded.before)[1:], items_of(again)[1:], strict=True)
    assert all(same_bytes(*pair) for pair in pairs)
    assert "is no measurement group of the report; the name, comment and codes" in caplog.text


# --- Images, patients and reports that are not there -----------------------------------------------------------------


def _evidence(dataset: Dataset) -> set[str]:
    return {
        str(one.ReferencedSOPInstanceUID)
        for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or ()
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def test_reports_in_patient_coordinates_name_images(
    scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any
) -> None:
    inside = add(scene, "Line", "inside", images.of_pixels(1, [(3, 4), (9, 9)]))
    ends = np.concatenate([images.of_pixels(place, [(3, 4)]) for place in (2, 4)])
    across = add(scene, "Line", "across", ends)
    far = add(scene, "Line", "far", [(5000, 0, 0), (5000, 9, 0)])
    for number_of, (node, places) in enumerate(((inside, [1]), (across, [2, 3, 4]), (far, range(len(images.uids))))):
        dataset = written(export([node], tmp_path / f"out {number_of}", database, source=images.series))
        assert _evidence(dataset) == {images.uid(place) for place in places}
        assert not any(concept(one) == "121112" for one in items_of(dataset))


def test_nothing_known_of_the_patient(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = add(scene, "Line", "line", [(0, 0, 0), (3, 4, 0)])
    with caplog.at_level(logging.WARNING):
        export([line], tmp_path / "known", PatientID="P7")
    assert "Nothing is known" not in caplog.text
    with caplog.at_level(logging.WARNING):
        export([line], tmp_path / "out")
    assert "Nothing is known of patient and study" in caplog.text


def test_a_table_that_is_not_there_any_more(three: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    for node in [node for node in three.nodes if node.IsA("vtkMRMLTableNode") or node.IsA("vtkMRMLTextNode")]:
        three.scene.RemoveNode(node)
    with caplog.at_level(logging.WARNING):
        again = three.export([three.markup("first")])
    assert list(groups_of(again)) == ["first"]
    assert "PredecessorDocumentsSequence" not in again
    assert "'first' comes from a report whose table is not in the scene any more" in caplog.text


# --- Reports without groups, and twice the same ----------------------------------------------------------------------

CLASSES = [("11", "34"), ("22", "34"), ("33", "34"), ("34", "34"), ("67", "34")]


@pytest.mark.parametrize(("before", "after"), CLASSES)
def test_a_report_without_groups_gets_some(
    tmp_path: Path, before: str, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = content("TEXT", dcm("121071", "Finding"), "Unauffällig")
    root = content("CONTAINER", dcm("126000", "Imaging Measurement Report"), None, text)
    classes = [f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (before, after)]
    loaded = Loaded(tmp_path / "in", save(document(root, classes[0]), tmp_path / "in" / "sr.dcm"))
    new = add(loaded.scene, "Line", "new", [(1, 2, 3), (4, 6, 3)])
    for node in loaded.nodes:
        with caplog.at_level(logging.WARNING):
            again = loaded.export([node, new])
        assert again.SOPClassUID == classes[1]
        assert numbers_of(groups_of(again)["new"]) == pytest.approx({"Length": 5})
        assert same_bytes(again.ContentSequence[0], loaded.before.ContentSequence[0])
        (study,) = again.PredecessorDocumentsSequence
        named = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        assert named.ReferencedSOPInstanceUID == loaded.before.SOPInstanceUID
        assert again.PatientID == "P1"
    assert "has no column" not in caplog.text
    with pytest.raises(ExportError, match="nothing to report"):
        loaded.export()


def test_a_report_that_was_loaded_twice(three: Loaded, tmp_path: Path) -> None:
    more = dicombridge.load(three.path, scene=three.scene, database=three.database)
    three.markup("odd").SetName("renamed")
    paths = dicombridge.export([three.table, *markups_of(more), more[0]], tmp_path / "out", "SR", three.database)
    found = [list(groups_of(written([path]))) for path in paths]
    assert found == [["first", "renamed", "last"], ["first", "odd", "last"]]
