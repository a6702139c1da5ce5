"""Structured reports that say usual things in unusual ways: all of it is read, and nothing else is changed by it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from support.sr_documents import (
    COMPREHENSIVE_SR,
    FINDING,
    IMAGE_REGION,
    LENGTH,
    LIVER,
    MASS,
    MM,
    SITE,
    content,
    dcm,
    document,
    group,
    image_item,
    measurement_report,
    named,
    number,
    region,
    save,
    sct,
)
from support.sr_exports import groups_of, same_bytes, texts_of_numbers
from support.sr_images import SeriesOfImages, write_multi_frame, write_series
from support.sr_nodes import column_names, column_of, lps_points, markups_of
from support.sr_objects import CASES
from support.sr_odd import LINE
from test_report_editing import Loaded

import dicombridge
import dicombridge.report
from dicombridge.cli.common import read_scene, save_scene
from dicombridge.report.groups import TimePoint
from dicombridge.report.kept import GROUP_ROLE, SHOWN_ATTRIBUTE, kept_groups
from dicombridge.report.reading import read_report
from dicombridge.report.recognizing import recognized_groups
from dicombridge.tables import Column, add_table

YES = sct("373066001", "Yes")


@pytest.fixture
def images(tmp_path: Path) -> SeriesOfImages:
    return write_series(tmp_path / "in" / "images", "oblique")


def load(folder: Path, root: Dataset, images: SeriesOfImages | None = None, **values: Any) -> Loaded:
    """Load a document of which the content is given, with its images."""
    path = save(document(root, COMPREHENSIVE_SR, images, **values), folder / "in" / "sr" / "sr.dcm")
    return Loaded(folder / "in", path)


def load_groups(folder: Path, images: SeriesOfImages, *groups: Dataset) -> Loaded:
    return load(folder, measurement_report(list(groups)), images)


# --- What nodes keep -------------------------------------------------------------------------------------------------


def test_nodes_keep_the_name_that_they_were_given(tmp_path: Path, images: SeriesOfImages) -> None:
    parts = [group("twin", generate_uid(), region(images, 1, "POLYLINE", LINE)) for _ in range(2)]
    loaded = load_groups(tmp_path, images, *parts, group("bare", generate_uid(), number(LENGTH, 3, MM)))
    nodes = loaded.nodes[3:]
    names = [kept.name for node in nodes if (kept := kept_groups(node)) is not None]
    assert names == [node.GetName() for node in nodes]
    assert len(set(names)) == 2
    assert loaded.table.GetAttribute(SHOWN_ATTRIBUTE) == "1 2"


# --- Titles of columns -----------------------------------------------------------------------------------------------


def test_columns_of_one_title(tmp_path: Path, images: SeriesOfImages) -> None:
    """A number, an evaluation and a fixed column may have one title; none is taken for an edit of another."""
    private = ("X1", "99VENDOR")
    parts = [
        region(images, 1, "POLYLINE", LINE),
        number(LENGTH, "12.90", MM),
        content("CODE", (*private, "Length"), YES),
        content("CODE", ("X2", "99VENDOR", "Comment"), YES),
        content("CODE", ("X3", "99VENDOR", "Shape"), YES),
        number(("X4", "99VENDOR", "Group"), "7", MM),
        number(("X5", "99VENDOR", "Length [2]"), "8", MM),
        content("TEXT", dcm("121106", "Comment"), "as ever"),
    ]
    loaded = load_groups(tmp_path, images, group("one", generate_uid(), *parts), group("two", generate_uid()))
    names = column_names(loaded.table)
    assert len(set(names)) == len(names)
    cells = {name: column_of(loaded.table, name)[0] for name in names}
    assert cells["Length"] == 12.9
    assert cells["Length [2]"] == 8
    assert (cells["Group"], cells["Group [2]"], cells["Comment"], cells["Shape"]) == (1, 7, "as ever", "POLYLINE")
    assert [name for name, cell in cells.items() if cell == "Yes"] == ["Length [3]", "Comment [2]", "Shape [2]"]
    reopened = read_scene(str(save_scene(loaded.scene, tmp_path / "scene.mrb")))
    was = groups_of(loaded.before)
    for table in (loaded.table, reopened.GetFirstNodeByName(loaded.table.GetName())):
        now = groups_of(loaded.export([table]))
        assert list(was) == list(now)
        assert all(same_bytes(was[name], now[name]) for name in was)
    loaded.set_cell("Length", 0, 13.5)
    loaded.set_cell("Length [3]", 0, "No")
    assert texts_of_numbers(groups_of(loaded.export())["one"])["Length"] == "13.5"


def test_two_columns_of_one_name_are_no_table(scene: Any) -> None:
    with pytest.raises(ValueError, match="named 'Length'"):
        add_table(scene, "table", [Column("Length", [1.0]), Column("Length", ["Yes"])])


# --- Items that name others ------------------------------------------------------------------------------------------


def with_library(images: SeriesOfImages, *groups: Dataset) -> Dataset:
    """A report whose Image Library, 1.4, holds an image with what is said of it; its groups lie in 1.5."""
    root = measurement_report(list(groups), observers=False)
    (library,) = [one for one in root.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue == "111028"]
    said = content("CODE", dcm("121139", "Modality"), dcm("CT", "CT"), relation="HAS ACQ CONTEXT")
    image = content("IMAGE", None, (images.sop_class, images.uid(1)), said)
    library.ContentSequence = [image]
    place = list(root.ContentSequence).index(library) + 1
    assert place == LIBRARY
    return root


LIBRARY = 3


@pytest.mark.parametrize("below", ["group", "number", "code", "text"])
def test_an_image_of_the_library(tmp_path: Path, images: SeriesOfImages, below: str) -> None:
    """An SCOORD names its image by the place of that in the Image Library, as reports of CAD do."""
    image = named(1, LIBRARY, 1, relation="SELECTED FROM")
    line = content("SCOORD", IMAGE_REGION, ("POLYLINE", LINE), image, relation="INFERRED FROM")
    part = {
        "group": line,
        "number": number(LENGTH, "12.5", MM, line),
        "code": content("CODE", FINDING, MASS, line),
        "text": content("TEXT", ("X1", "99VENDOR", "Impression"), "round", line),
    }[below]
    loaded = load(tmp_path, with_library(images, group("one", generate_uid(), part, finding=None)), images)
    (markup,) = markups_of(loaded.nodes)
    np.testing.assert_allclose(lps_points(markup), images.of_pixels(1, np.asarray(LINE) - 0.5), atol=1e-3)
    assert not [name for name in column_names(loaded.table) if name == "Modality"]


@pytest.mark.parametrize("below", ["code", "text"])
def test_a_region_that_stands_elsewhere(tmp_path: Path, images: SeriesOfImages, below: str) -> None:
    other = named(1, LIBRARY + 1, 1, 3)
    part = {
        "code": content("CODE", FINDING, MASS, other),
        "text": content("TEXT", ("X1", "99VENDOR", "Impression"), "round", other),
    }[below]
    line = content("SCOORD", IMAGE_REGION, ("POLYLINE", LINE), image_item(images, 1))
    parts = [
        group("first", generate_uid(), line, finding=None),
        group("second", generate_uid(), part, finding=None),
    ]
    loaded = load(tmp_path, with_library(images, *parts), images)
    first, second = markups_of(loaded.nodes)
    np.testing.assert_array_equal(lps_points(first), lps_points(second))


def test_references_in_rings_and_long_chains(tmp_path: Path, images: SeriesOfImages) -> None:
    """Items that name each other on and on cost no more than their number; those in a ring are told."""
    count = 3000
    chain = [
        content("TEXT", ("X1", "99VENDOR", "Step"), "x", named(1, LIBRARY + 1, 1, place + 1))
        for place in range(3, 3 + count)
    ]
    chain[-1] = content("TEXT", ("X1", "99VENDOR", "Step"), "x", named(1, LIBRARY + 1, 1, 2 + count - 1))
    root = with_library(images, group("one", generate_uid(), *chain, finding=None))
    path = save(document(root, COMPREHENSIVE_SR, images), tmp_path / "sr.dcm")
    start = time.perf_counter()
    report = read_report(str(path), "SR", None)
    assert time.perf_counter() - start < 30
    (told,) = [warning for warning in report.warnings if "refers to itself" in warning]
    assert told.count("1.4.1.") == 2
    assert f"1.4.1.{count + 1}.1" in told
    assert f"1.4.1.{count + 2}.1" in told


def test_many_regions_of_one_group(tmp_path: Path, images: SeriesOfImages) -> None:
    lines = [region(images, 1, "POLYLINE", [(3, 4), (5, 6 + place / 100)]) for place in range(3000)]
    again = [region(images, 1, "POLYLINE", [(3, 4), (5, 6 + place / 100)]) for place in range(3000)]
    root = measurement_report([group("one", generate_uid(), *lines, *again)])
    path = save(document(root, COMPREHENSIVE_SR, images), tmp_path / "sr.dcm")
    start = time.perf_counter()
    (found,) = recognized_groups(read_report(str(path), "SR", None).root)
    assert len(found.regions) == 3000
    assert time.perf_counter() - start < 30


# --- Character sets --------------------------------------------------------------------------------------------------


def test_a_character_set_of_an_item_ends_with_it(tmp_path: Path, images: SeriesOfImages) -> None:
    """PS3.3 C.12.1.1.2: it holds for the item and what is below it, not for what follows."""
    said = ("X1", "99VENDOR", "Größe")
    inner = content("TEXT", said, "Läsion außen")
    parts = [
        content("TEXT", ("X0", "99VENDOR", "Größe"), "Läsion", relation="HAS PROPERTIES"),
        content("CONTAINER", said, None, inner, SpecificCharacterSet="ISO_IR 100"),
        content("TEXT", ("X2", "99VENDOR", "Maß"), "kürzer"),
        content("CODE", ("X3", "99VENDOR", "Höhe"), ("Y", "99VENDOR", "größer")),
    ]
    parts[3].ConceptCodeSequence[0].SpecificCharacterSet = "ISO_IR 100"
    root = measurement_report([group("Läsion", generate_uid(), *parts)])
    path = save(document(root, COMPREHENSIVE_SR, images), tmp_path / "sr.dcm")
    items = {item.concept.value: item for item in read_report(str(path), "SR", None).root.walk() if item.concept}
    assert [items[name].text for name in ("X0", "X1", "X2", "X3")] == ["Läsion", "Läsion außen", "kürzer", "größer"]
    meanings = [items[name].concept.meaning for name in ("X0", "X1", "X2", "X3")]
    assert meanings == ["Größe", "Größe", "Maß", "Höhe"]


# --- Values of another type ------------------------------------------------------------------------------------------


def test_words_where_codes_should_be(tmp_path: Path, images: SeriesOfImages) -> None:
    """What is said by a text where the template wants a code is passed over; a number is one whatever its name."""
    site = content(
        "CODE", SITE, LIVER,
        content("TEXT", sct("272741003", "Laterality"), "left", relation="HAS CONCEPT MOD"),
        content("TEXT", sct("106233006", "Topographical modifier"), "upper", relation="HAS CONCEPT MOD"),
        relation="HAS CONCEPT MOD",
    )  # fmt: skip
    parts = [
        site,
        region(images, 1, "POLYLINE", LINE),
        number(FINDING, "7.5", MM),
        content("TEXT", dcm("126072", "Time Point Type"), "baseline", relation="HAS OBS CONTEXT"),
        content("TEXT", dcm("126073", "Time Point Order"), "second", relation="HAS OBS CONTEXT"),
        content("TEXT", ("C2348792", "UMLS", "Time Point"), "week 3", relation="HAS OBS CONTEXT"),
    ]
    loaded = load_groups(tmp_path, images, group("one", generate_uid(), *parts))
    assert column_of(loaded.table, "Finding Site") == ["Liver"]
    assert column_of(loaded.table, "Finding [2]") == [7.5]
    (kept,) = [kept_groups(node) for node in markups_of(loaded.nodes)]
    assert kept is not None
    (one,) = kept.groups.values()
    assert one.time_point == TimePoint("week 3")
    assert [(site.code.value, site.laterality, site.modifiers) for site in one.sites] == [("10200004", None, ())]


# --- What belongs to a row -------------------------------------------------------------------------------------------


def test_a_row_leads_to_its_segmentation(tmp_path: Path) -> None:
    CASES["segments"](tmp_path)
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(str(tmp_path), scene=scene)
    (table,) = [node for node in nodes if node.GetNumberOfNodeReferences(GROUP_ROLE)]
    segments = column_of(table, "Segment")
    assert any(segments)
    for number_of_group, cell in zip(column_of(table, "Group"), segments, strict=True):
        found = [node.GetClassName() for node in dicombridge.report.nodes_of_group(table, number_of_group)]
        assert ("vtkMRMLSegmentationNode" in found) == bool(cell)


def test_a_row_leads_to_the_model_of_many_shapes(tmp_path: Path) -> None:
    path, expected = CASES["planar axial"](tmp_path / "in")
    loaded = Loaded(tmp_path / "in", path, most_markups=2)
    points, model = markups_of(loaded.nodes)
    for row, one in enumerate(expected.groups):
        node = points if one.regions[0].type == "POINT" else model
        assert dicombridge.report.nodes_of_group(loaded.table, row + 1) == [node]
    assert dicombridge.report.nodes_of_group(loaded.table, len(expected.groups) + 1) == []


def test_a_region_in_several_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_multi_frame(tmp_path / "in" / "images", "oblique")
    line = region(images, 2, "POLYLINE", LINE)
    line.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber = [3, 4]
    with caplog.at_level(logging.WARNING):
        loaded = load_groups(tmp_path, images, group("one", generate_uid(), line))
    (markup,) = markups_of(loaded.nodes)
    np.testing.assert_allclose(lps_points(markup), images.of_pixels(2, np.asarray(LINE) - 0.5), atol=1e-3)
    assert "one: names several frames of its image, and is shown in the first of them" in caplog.text


def test_markups_find_the_scene_of_their_measurements(
    tmp_path: Path, images: SeriesOfImages, capfd: pytest.CaptureFixture[str]
) -> None:
    load_groups(tmp_path, images, group("one", generate_uid(), region(images, 1, "POLYLINE", LINE)))
    assert "InputMRMLNode is required" not in capfd.readouterr().err
