"""Loaded reports that are edited and written again: what was changed is in them, and all else is as it was."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from support.items import code, item, read
from support.sr_documents import (
    COMPREHENSIVE_3D_SR,
    IMAGE_REGION,
    LENGTH,
    LIVER,
    MM,
    content,
    dcm,
    document,
    group,
    measurement_report,
    named,
    number,
    region,
    save,
)
from support.sr_exports import (
    child,
    code_of,
    concept,
    graphics_of,
    groups_of,
    images_of,
    items_of,
    numbers_of,
    same_bytes,
    text_of,
    texts_of_numbers,
    written,
)
from support.sr_images import SeriesOfImages, write_series
from support.sr_nodes import lps_points, markups_of
from support.sr_objects import CASES
from support.sr_odd import LINE, ODD
from test_report_contents import add, move

import dicombridge
from dicombridge.cli.common import read_scene, save_scene
from dicombridge.codes import Code, Terminology, terminology_tag
from dicombridge.errors import ExportError
from dicombridge.report.kept import kept_groups
from dicombridge.report.nodes import TERMINOLOGY_ATTRIBUTE

REPORTS = {**CASES, **ODD}
MEAN = ("373098007", "SCT", "Mean")
HU = ("[hnsf'U]", "UCUM", "Hounsfield unit")


class Loaded:
    """A report in a scene, with its images as database."""

    def __init__(self, folder: Path, path: Path, **options: Any) -> None:
        self.folder, self.path = folder, path
        self.before = read(path)
        self.database = dicombridge.open_folder(folder)
        self.scene = dicombridge.new_scene()
        self.nodes = dicombridge.load(path, scene=self.scene, database=self.database, **options)
        self.table = self.nodes[0]

    def markup(self, identifier: str) -> Any:
        """The first markup of a group."""
        for node in markups_of(self.nodes):
            kept = kept_groups(node)
            if kept is not None and identifier in [one.tracking_identifier for one in kept.groups.values()]:
                return node
        raise AssertionError(identifier)

    def export(self, nodes: Any = None, known: str = "", **options: Any) -> Dataset:
        chosen = [self.table] if nodes is None else nodes
        folder = self.folder.parent / f"out {generate_uid()}"
        return written(dicombridge.export(chosen, folder, "SR", self.database, **options), known)

    def set_cell(self, column: str, row: int, value: Any) -> None:
        self.table.GetTable().GetColumnByName(column).SetValue(row, value)


def load_case(tmp_path: Path, name: str, **options: Any) -> Loaded:
    path, _ = REPORTS[name](tmp_path / "in")
    return Loaded(tmp_path / "in", path, **options)


def write_three(folder: Path) -> tuple[Path, SeriesOfImages]:
    """Three groups with a line each: of numbers, of items that nobody knows, and one that refers to its line."""
    images = write_series(folder / "images", "oblique")
    points = images.of_pixels(1, [(3, 4), (13, 4)]).astype(np.float32)
    line = content("SCOORD3D", IMAGE_REGION, ("POLYLINE", points, images.frame_of_reference))
    odd = content("TEXT", ("X1", "99VENDOR", "Stimmung"), "heiter", relation="HAS PROPERTIES")
    odd.add_new(0x00990010, "LO", "VENDOR")
    odd.add_new(0x00991001, "LO", "ganz privat")
    waveform = content("TCOORD", ("X2", "99VENDOR", "When"), None, TemporalRangeType="POINT",
                       ReferencedTimeOffsets=["1.50"], relation="HAS PROPERTIES")  # fmt: skip
    groups = [
        group("first", generate_uid(), line, number(LENGTH, "12.90", MM), number(MEAN, "40.0", HU)),
        group("odd", generate_uid(), odd, waveform, region(images, 2, "POLYLINE", LINE), number(LENGTH, "10.50", MM),
              site=LIVER),
        # 1.6.3 is the third group; three items stand before its region.
        group("last", generate_uid(), region(images, 0, "POLYLINE", LINE), number(LENGTH, "10.5", MM,
              named(1, 6, 3, 4))),
    ]  # fmt: skip
    ds = document(measurement_report(groups), COMPREHENSIVE_3D_SR, images, VerificationFlag="VERIFIED")
    ds.VerifyingObserverSequence = [
        item(VerifyingOrganization="Klinik", VerificationDateTime="20260103", VerifyingObserverName="Doe^Jane",
             VerifyingObserverIdentificationCodeSequence=[code("1", "99LOCAL", "Jane")])
    ]  # fmt: skip
    return save(ds, folder / "sr" / "sr.dcm"), images


@pytest.fixture
def three(tmp_path: Path) -> Loaded:
    path, _ = write_three(tmp_path / "in")
    return Loaded(tmp_path / "in", path)


def untouched(before: Dataset, after: Dataset, *edited: str) -> None:
    """All groups but some are there, to the byte."""
    was, now = groups_of(before), groups_of(after)
    assert set(was) - set(edited) <= set(now)
    for name in set(was) - set(edited):
        assert same_bytes(was[name], now[name]), name


# --- Nothing edited --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "no meanings"])
@pytest.mark.parametrize("chosen", ["table", "all"])
def test_what_was_not_edited_is_the_same_to_the_byte(tmp_path: Path, name: str, chosen: str) -> None:
    loaded = load_case(tmp_path, name)
    known = "ReferencedSegmentNumber" if name == "segments" else ""  # beside frames, of highdicom
    again = loaded.export([loaded.table] if chosen == "table" else loaded.nodes, known)
    assert [same_bytes(*pair) for pair in zip(items_of(loaded.before)[1:], items_of(again)[1:], strict=True)].count(
        False
    ) == 0
    # Coordinates are nothing for a Basic Text SR; that which has some all the same, becomes another class.
    assert again.SOPClassUID == (COMPREHENSIVE_3D_SR if name == "basic text" else loaded.before.SOPClassUID)
    assert again.SOPInstanceUID != loaded.before.SOPInstanceUID
    (study,) = again.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (document_item,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == loaded.before.StudyInstanceUID
    assert series.SeriesInstanceUID == loaded.before.SeriesInstanceUID
    assert document_item.ReferencedSOPInstanceUID == loaded.before.SOPInstanceUID


@pytest.mark.parametrize("name", ["planar oblique", "planar in space", "everything", "bidirectional", "by reference",
                                  "2,000 measurements", "nested groups"])  # fmt: skip
def test_through_a_scene_file(tmp_path: Path, name: str) -> None:
    loaded = load_case(tmp_path, name)
    names = [node.GetName() for node in loaded.nodes]
    scene = read_scene(str(save_scene(loaded.scene, tmp_path / "scene.mrb")))
    nodes = [scene.GetFirstNodeByName(one) for one in names]
    for chosen in (nodes[:1], nodes):
        again = loaded.export(chosen)
        assert [same_bytes(*pair) for pair in zip(items_of(loaded.before)[1:], items_of(again)[1:], strict=True)].count(
            False
        ) == 0


def test_many_shapes_in_one_model(tmp_path: Path) -> None:
    loaded = load_case(tmp_path, "planar oblique", most_markups=2)
    assert [node.GetClassName() for node in markups_of(loaded.nodes)] == [
        "vtkMRMLMarkupsFiducialNode", "vtkMRMLModelNode",
    ]  # fmt: skip
    again = loaded.export()
    untouched(loaded.before, again)
    assert list(groups_of(again)) == list(groups_of(loaded.before))
    points, model = markups_of(loaded.nodes)
    loaded.scene.RemoveNode(model)
    left = loaded.export([points, loaded.table])
    assert list(groups_of(left)) == ["point", "first pixel"]


def test_text_of_another_character_set(tmp_path: Path) -> None:
    images = write_series(tmp_path / "in" / "images")
    parts = [content("TEXT", dcm("121106", "Comment"), "Größe übertrieben"), region(images, 0, "POLYLINE", LINE)]
    ds = document(measurement_report([group("Läsion", generate_uid(), *parts)]), COMPREHENSIVE_3D_SR, images)
    ds.SpecificCharacterSet = "ISO_IR 100"
    loaded = Loaded(tmp_path / "in", save(ds, tmp_path / "in" / "sr" / "sr.dcm"))
    again = loaded.export()
    assert again.SpecificCharacterSet == "ISO_IR 192"
    assert list(groups_of(again)) == ["Läsion"]
    assert text_of(groups_of(again)["Läsion"], "121106") == "Größe übertrieben"


# --- Geometry --------------------------------------------------------------------------------------------------------


def test_a_moved_point(tmp_path: Path) -> None:
    loaded = load_case(tmp_path, "planar in space")
    node = loaded.markup("POINT in space")
    place = lps_points(node)[0]
    move(node, 0, by=2.5)
    again = loaded.export()
    ((kind, found),) = graphics_of(groups_of(again)["POINT in space"])
    assert kind == "POINT"
    np.testing.assert_allclose(found, [np.add(place, (0, 0, 2.5))], atol=1e-4)
    untouched(loaded.before, again, "POINT in space")


def test_a_moved_line_is_measured_again(three: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    node = three.markup("first")
    move(node, 1, by=4)
    ends = lps_points(node)
    with caplog.at_level(logging.WARNING):
        again = three.export()
    first = groups_of(again)["first"]
    assert numbers_of(first) == pytest.approx({"Length": np.linalg.norm(ends[1] - ends[0])}, rel=1e-6)
    np.testing.assert_allclose(graphics_of(first)[0][1], ends, atol=1e-4)
    assert "Mean cannot be measured from the new place alone and was left out" in caplog.text
    assert same_bytes(child(first, "112040"), child(groups_of(three.before)["first"], "112040"))  # type: ignore[arg-type]
    untouched(three.before, again, "first")


def test_a_moved_line_in_an_image_stays_in_an_image(three: Loaded) -> None:
    node = three.markup("odd")
    ends = lps_points(node)
    node.SetNthControlPointPosition(1, *(np.add(*ends) / 2 * (-1, -1, 1)))
    odd = groups_of(three.export())["odd"]
    middle = np.mean(LINE, axis=0)
    ((kind, found),) = graphics_of(odd)
    assert kind == "POLYLINE"
    np.testing.assert_allclose(found, [LINE[0], middle], atol=1e-4)
    assert images_of(odd) == images_of(groups_of(three.before)["odd"])
    half = np.linalg.norm((np.subtract(*LINE)) * (1.3, 0.7)) / 2
    assert numbers_of(odd) == pytest.approx({"Length": half}, rel=1e-5)
    was = groups_of(three.before)["odd"]
    for code_value in ("X1", "X2", "121071", "363698007"):
        assert same_bytes(child(odd, code_value), child(was, code_value))  # type: ignore[arg-type]
    private = child(odd, "X1")
    assert private is not None
    assert private[0x00991001].value in ("ganz privat", b"ganz privat ")


def test_a_moved_ellipse(tmp_path: Path) -> None:
    loaded = load_case(tmp_path, "planar in space")
    node = loaded.markup("ELLIPSE in space")
    before = graphics_of(groups_of(loaded.before)["ELLIPSE in space"])[0][1]
    for place in range(node.GetNumberOfControlPoints()):
        move(node, place, by=3)
    again = loaded.export()
    ((kind, found),) = graphics_of(groups_of(again)["ELLIPSE in space"])
    assert kind == "ELLIPSE"
    # The ends of an axis may change places.
    for axis in (slice(0, 2), slice(2, 4)):
        wanted = before[axis] + (0, 0, 3)
        np.testing.assert_allclose(found[axis].mean(axis=0), wanted.mean(axis=0), atol=1e-3)
        np.testing.assert_allclose(np.abs(found[axis][1] - found[axis][0]), np.abs(wanted[1] - wanted[0]), atol=1e-3)
    untouched(loaded.before, again, "ELLIPSE in space")


def test_a_deleted_markup_takes_its_group_with_it(three: Loaded) -> None:
    three.scene.RemoveNode(three.markup("odd"))
    again = three.export()
    assert list(groups_of(again)) == ["first", "last"]
    assert same_bytes(groups_of(again)["first"], groups_of(three.before)["first"])
    # What refers to an item by its position follows: the third group is the second now.
    (follows,) = [one for one in items_of(again) if "ReferencedContentItemIdentifier" in one]
    assert list(follows.ReferencedContentItemIdentifier) == [1, 6, 2, 4]
    (was,) = [one for one in items_of(three.before) if "ReferencedContentItemIdentifier" in one]
    assert list(was.ReferencedContentItemIdentifier) == [1, 6, 3, 4]


def test_a_deleted_region_of_two(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_case(tmp_path, "bidirectional")
    lines = markups_of(loaded.nodes)
    lengths = [np.linalg.norm(np.subtract(*lps_points(node))) for node in lines]
    short = lines[int(np.argmin(lengths))]
    loaded.scene.RemoveNode(short)
    with caplog.at_level(logging.WARNING):
        again = loaded.export()
    (found,) = groups_of(again).values()
    assert texts_of_numbers(found) == {"Long axis": "33.25"}
    assert len(graphics_of(found)) == 1
    assert "Short axis was left out with the region that it was of" in caplog.text


# --- New, copied, renamed --------------------------------------------------------------------------------------------


def test_a_new_markup_joins_the_document(three: Loaded) -> None:
    new = add(three.scene, "Line", "new", [(1, 2, 3), (4, 6, 3)])
    again = three.export([three.table, new])
    assert list(groups_of(again)) == ["first", "odd", "last", "new"]
    assert numbers_of(groups_of(again)["new"]) == pytest.approx({"Length": 5})
    untouched(three.before, again)
    container = next(one for one in again.ContentSequence if concept(one) == "126010")
    assert len(container.ContentSequence) == 4
    assert again.StudyInstanceUID == three.before.StudyInstanceUID


def test_a_copied_node_is_a_group_of_its_own(tmp_path: Path) -> None:
    loaded = load_case(tmp_path, "planar in space")
    node = loaded.markup("POLYLINE in space")
    copy = loaded.scene.AddNewNodeByClass(node.GetClassName(), "copy")
    copy.CopyContent(node)
    for name in ("DICOMBridge.MeasurementGroup", "DICOM.instanceUIDs"):
        copy.SetAttribute(name, node.GetAttribute(name))
    copy.SetNodeReferenceID("DICOMBridge.Report", loaded.table.GetID())
    again = loaded.export([loaded.table, copy])
    groups = groups_of(again)
    assert list(groups)[-1] == "copy"
    uids = [one.UID for one in items_of(again) if concept(one) == "112040"]
    assert len(set(uids)) == len(uids) == 5
    np.testing.assert_allclose(
        graphics_of(groups["copy"])[0][1], graphics_of(groups["POLYLINE in space"])[0][1], atol=1e-4
    )
    untouched(loaded.before, again)


def test_names_comments_and_codes(three: Loaded) -> None:
    node = three.markup("odd")
    node.SetName("Umbenannt")
    node.SetNthControlPointDescription(0, "neu bewertet")
    said = Terminology(
        Code("49755003", "SCT", "Morphologically Abnormal Structure"), Code("367643001", "SCT", "Cyst"), None,
        Code("64033007", "SCT", "Kidney"), Code("7771000", "SCT", "Left"),
    )  # fmt: skip
    node.SetAttribute(TERMINOLOGY_ATTRIBUTE, terminology_tag(said))
    again = three.export()
    assert list(groups_of(again)) == ["first", "Umbenannt", "last"]
    found, was = groups_of(again)["Umbenannt"], groups_of(three.before)["odd"]
    assert text_of(found, "121106") == "neu bewertet"
    assert (code_of(found, "121071"), code_of(found, "363698007")) == ("367643001", "64033007")
    assert code_of(found, "276214006") == ""  # a category that nobody chose was none before
    assert texts_of_numbers(found) == {"Length": "10.50"}
    assert same_bytes(child(found, "X1"), child(was, "X1"))  # type: ignore[arg-type]
    untouched(three.before, again, "odd")


# --- Cells of the table ----------------------------------------------------------------------------------------------


def test_edited_numbers(three: Loaded) -> None:
    three.set_cell("Length", 0, 99.25)
    three.set_cell("Mean", 0, float("nan"))
    three.set_cell("Mean", 2, 7.125)
    again = three.export()
    groups = groups_of(again)
    assert texts_of_numbers(groups["first"]) == {"Length": "99.25"}
    assert texts_of_numbers(groups["last"]) == {"Length": "10.5", "Mean": "7.125"}
    mean = child(groups["last"], "373098007")
    assert mean is not None
    assert mean.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "[hnsf'U]"
    untouched(three.before, again, "first", "last")
    # Exported without the table, the cells say nothing; outline and text are the whole report, as the table is.
    untouched(three.before, three.export(markups_of(three.nodes)))
    untouched(again, three.export([three.nodes[2]]))


def test_a_cell_wins_over_measuring_again(three: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    move(three.markup("first"), 1, by=4)
    move(three.markup("odd"), 0, by=0)
    three.set_cell("Length", 0, 50.0)
    three.set_cell("Mean", 0, 41.5)
    with caplog.at_level(logging.WARNING):
        first = groups_of(three.export())["first"]
    assert texts_of_numbers(first) == {"Length": "50", "Mean": "41.5"}
    np.testing.assert_allclose(graphics_of(first)[0][1], lps_points(three.markup("first")), atol=1e-4)


def test_edited_texts(three: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    three.set_cell("Tracking Identifier", 1, "Zielläsion")
    three.set_cell("Finding", 2, "Zyste")
    three.markup("odd").SetName("by node")
    with caplog.at_level(logging.WARNING):
        again = three.export()
    assert list(groups_of(again)) == ["first", "Zielläsion", "last"]
    assert "what was edited in Finding cannot be written from a table" in caplog.text
    untouched(three.before, again, "odd")


def test_comments_and_columns_of_the_user(three: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    from vtkmodules.vtkCommonCore import vtkStringArray

    for name, cell in (("Comment", "wächst"), ("Mine", "own")):
        column = vtkStringArray()
        column.SetName(name)
        for text in ("", cell, ""):
            column.InsertNextValue(text)
        three.table.AddColumn(column)
    with caplog.at_level(logging.WARNING):
        again = three.export()
    assert [text_of(one, "121106") for one in groups_of(again).values()] == ["", "wächst", ""]
    assert "what was edited in Mine cannot be written" in caplog.text


def test_deleted_rows(three: Loaded) -> None:
    three.table.RemoveRow(0)
    again = three.export()
    assert list(groups_of(again)) == ["odd", "last"]
    untouched(three.before, again, "first", "last")
    (follows,) = [one for one in items_of(again) if "ReferencedContentItemIdentifier" in one]
    assert list(follows.ReferencedContentItemIdentifier) == [1, 6, 2, 4]
    three.table.RemoveRow(0)
    three.table.RemoveRow(0)
    with pytest.raises(ExportError, match="all groups were removed"):
        three.export()


def test_new_rows_and_a_lost_column(three: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    three.table.AddEmptyRow()
    three.set_cell("Group", 3, 12)
    with caplog.at_level(logging.WARNING):
        untouched(three.before, three.export())
    assert "rows of new groups (12) cannot be written" in caplog.text
    three.table.RemoveColumn(0)
    with caplog.at_level(logging.WARNING):
        untouched(three.before, three.export())
    assert "has no column Group any more" in caplog.text


def test_sorted_rows(three: Loaded) -> None:
    table = three.table.GetTable()
    for place in range(table.GetNumberOfColumns()):
        column = table.GetColumn(place)
        first, last = column.GetValue(0), column.GetValue(2)
        column.SetValue(0, last)
        column.SetValue(2, first)
    three.set_cell("Length", 2, 1.5)
    again = three.export()
    assert list(groups_of(again)) == ["first", "odd", "last"]
    assert texts_of_numbers(groups_of(again)["first"]) == {"Length": "1.5", "Mean": "40.0"}
    untouched(three.before, again, "first")


def test_cells_through_a_scene_file(three: Loaded, tmp_path: Path) -> None:
    three.set_cell("Length", 1, 123.456789)
    scene = read_scene(str(save_scene(three.scene, tmp_path / "scene.mrb")))
    again = three.export([scene.GetFirstNodeByName(three.table.GetName())])
    # The file of a table holds six digits.
    assert numbers_of(groups_of(again)["odd"]) == {"Length": 123.457}
    untouched(three.before, again, "odd")


# --- The document ----------------------------------------------------------------------------------------------------


def test_who_verified_the_loaded_one_did_not_see_the_edited_one(three: Loaded) -> None:
    assert three.before.VerificationFlag == "VERIFIED"
    again = three.export()
    assert again.VerificationFlag == "UNVERIFIED"
    assert "VerifyingObserverSequence" not in again


@pytest.mark.parametrize("name", ["planar Enhanced SR", "planar Comprehensive SR", "planar axial"])
def test_a_class_that_can_hold_what_is_in_it(tmp_path: Path, name: str) -> None:
    loaded = load_case(tmp_path, name)
    new = add(loaded.scene, "Line", "new", [(1, 2, 3), (4, 6, 3)])
    again = loaded.export([loaded.table, new])
    assert (loaded.export().SOPClassUID, again.SOPClassUID) == (loaded.before.SOPClassUID, COMPREHENSIVE_3D_SR)
    assert numbers_of(groups_of(again)["new"]) == pytest.approx({"Length": 5})
    untouched(loaded.before, again)


def test_keywords_are_the_last_word(three: Loaded) -> None:
    again = three.export(SeriesDescription="Zweite Lesung", SeriesNumber=61)
    assert (again.SeriesDescription, again.SeriesNumber) == ("Zweite Lesung", 61)
    assert again.StudyDate == three.before.StudyDate
    assert len(again.ContributingEquipmentSequence) == 1


def test_reports_are_written_one_a_document(tmp_path: Path) -> None:
    path, _ = write_three(tmp_path / "in")
    loaded = Loaded(tmp_path / "in", path)
    other, _ = CASES["planar in space"](tmp_path / "in" / "other")
    database = dicombridge.open_folder(tmp_path / "in")
    more = dicombridge.load(other, scene=loaded.scene, database=database)
    paths = dicombridge.export([loaded.table, more[0]], tmp_path / "out", "SR", database)
    assert [sorted(groups_of(read(one))) for one in paths] == [
        ["first", "last", "odd"], sorted(groups_of(read(other))),
    ]  # fmt: skip
