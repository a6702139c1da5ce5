"""Reports between us and OHIF: cornerstone's adapters take up what we write, and we draw what they write.

Cornerstone exchanges the numbers of Pixel Spacing in SCOORDs; ``corrected`` is what the standard wants
(:mod:`support.javascript`).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from support import javascript
from support.sr_images import SeriesOfImages, write_multi_frame, write_series
from support.sr_markups import (
    LEFT,
    LIVER,
    MASS,
    Drawn,
    Points,
    assert_report_valid,
    draw,
    errors_of,
    load_images,
    same_points,
    same_ring,
)
from support.sr_nodes import column_names, column_of, lps_points, markups_of

import dicombridge
from dicombridge.errors import ExportError
from dicombridge.report.kept import kept_groups

SERIES: dict[str, Callable[[Path], SeriesOfImages]] = {
    "oblique": lambda folder: write_series(folder, "oblique"),
    "square": lambda folder: write_series(folder, "sagittal", spacing=(0.8, 0.8)),
    "multi-frame": lambda folder: write_multi_frame(folder, "oblique"),
}
NEAR_MM = 1e-3
"""Graphic Data has 24 bits, which cornerstone goes through once more."""


def plain(code: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("CodeValue", "CodingSchemeDesignator", "CodeMeaning"), code, strict=True))


# --- They read ours --------------------------------------------------------------------------------------------------

TOOLS = {
    "line": "Length", "corner": "Length", "angle": "Angle", "path": "PlanarFreehandROI", "Target 1": "Bidirectional",
    "T5 to L1": "CobbAngle",
    "ring": "PlanarFreehandROI", "box": "RectangleROI", "turned": "PlanarFreehandROI", "ellipse": "EllipticalROI",
    "circle": "CircleROI", "sheet": "RectangleROI", "apex": "Probe", "base": "ArrowAnnotate",
}  # fmt: skip
STATS = {
    ("410668003", "SCT"): "length", ("42798000", "SCT"): "area", ("131191004", "SCT"): "perimeter",
    ("1483009", "SCT"): "angle", ("285285000", "SCT"): "angle",
}  # fmt: skip
OF_AXES = {("103339001", "SCT"): "length", ("103340004", "SCT"): "width"}


@dataclass
class Taken:
    """What adapters take up of a report of what was drawn, by label, and the report."""

    images: SeriesOfImages
    drawn: list[Drawn]
    path: Path
    found: dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=SERIES)
def taken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    folder = tmp_path_factory.mktemp("report")
    images = SERIES[request.param](folder / "images")
    scene, volume, database = load_images(images)
    drawn = draw(scene, images, volume, solid=False)
    nodes = list(dict.fromkeys(node for one in drawn for node in one.nodes))
    (path,) = dicombridge.export(nodes, folder / "out", kind="SR", database=database, source=volume, profile="ohif")
    hydrated = javascript.hydrated(path, javascript.image_entries(*images.datasets), corrected=True)
    everything = [one for several in hydrated.values() for one in several]
    found = {_label(one): one for one in everything}
    assert len(found) == len(everything)
    return Taken(images, drawn, path, found)


def _label(annotation: dict[str, Any]) -> str:
    """The name that it was drawn under; a point with a comment shows that."""
    return "base" if annotation["label"] == "see here, µ" else str(annotation["label"])


def expected_points(tool: str, drawn: Drawn) -> Points:
    """The points of an annotation in cornerstone's order."""
    points = drawn.points[0]
    if tool == "CircleROI":
        return np.stack([points.mean(axis=0), points[0]])
    if tool == "RectangleROI":
        return points[[0, 1, 3, 2]]  # along rows, not around
    if tool == "CobbAngle":
        return np.vstack(drawn.points)
    if tool == "Bidirectional":
        return np.vstack(drawn.points[::-1])  # the longer one first, which was drawn last
    return points


@pytest.mark.parametrize("name", TOOLS)
def test_adapters_take_up_what_was_drawn(taken: Taken, name: str) -> None:
    drawn = next(one for one in taken.drawn if one.name == name)
    found, images = taken.found[name], taken.images
    tool = TOOLS[name]
    if name == "circle" and images.spacing[0] != images.spacing[1]:
        tool = "EllipticalROI"  # a centre and a point are no circle where a pixel is not square
    assert (found["tool"], found["trackingIdentifier"]) == (tool, f"Cornerstone3DTools@^0.1.0:{tool}")
    wanted = expected_points(tool, drawn)
    points = np.array(found["points"])
    if name == "sheet":  # its corners begin where they begin
        assert same_ring(points[[0, 1, 3, 2]], drawn.points[0], NEAR_MM)
    elif name == "base":  # an arrow of one point: the adapters add its other end
        assert same_points(points[:1], wanted, NEAR_MM)
    else:
        assert same_points(points, wanted, NEAR_MM)
    assert found["closed"] == {"path": False, "ring": True, "turned": True}.get(name)
    assert drawn.plane is not None
    assert (found["image"], found["frame"]) == (images.uid(drawn.plane), (images.frames(drawn.plane) or [1])[0])
    assert (found["series"], found["frameOfReference"]) == (images.series, images.frame_of_reference)
    assert (found["finding"], found["findingSites"], found["description"]) == (plain(MASS), [plain(LIVER)], MASS[2])
    assert found["text"] == ("see here, µ" if name == "base" else None)


@pytest.mark.parametrize("name", TOOLS)
def test_adapters_take_up_what_was_measured(taken: Taken, name: str) -> None:
    drawn = next(one for one in taken.drawn if one.name == name)
    stats = taken.found[name]["stats"] or {}
    names = OF_AXES if name == "Target 1" else STATS
    wanted = {names[concept]: value for concept, (value, _) in drawn.values.items() if concept in names}
    assert bool(wanted) == (name not in ("apex", "base"))
    for key, value in wanted.items():
        assert stats[key] == pytest.approx(value, rel=1e-6)


def test_identifiers_are_in_the_report(taken: Taken) -> None:
    groups = javascript.groups(taken.path)
    uids = {one["trackingUID"] for one in groups}
    assert len(uids) == len(TOOLS)
    assert uids == {one["trackingUID"] for one in taken.found.values()}
    beside = {one["label"]: one["trackingUID"] for one in taken.found.values()}
    for group in groups:
        texts = {one["name"]["value"]: one["text"] for one in group["texts"]}
        assert beside[texts["121106"]] == group["trackingUID"]
        # The user's own name stands beside a label that is another.
        assert texts.get("121151") == ("base" if texts["121106"] == "see here, µ" else None)


def test_exports_for_viewers_are_valid(taken: Taken, tmp_path: Path) -> None:
    assert_report_valid(taken.path, taken.images.paths, tmp_path)


def test_what_is_in_no_slice_is_refused(tmp_path: Path) -> None:
    images = SERIES["oblique"](tmp_path / "images")
    scene, volume, database = load_images(images)
    *_, solid = draw(scene, images, volume)
    with pytest.raises(ExportError, match="'solid' lies in no slice"):
        dicombridge.export(solid.nodes, tmp_path / "out", kind="SR", database=database, source=volume, profile="ohif")
    assert not list(tmp_path.glob("out/*"))


# --- We read theirs --------------------------------------------------------------------------------------------------

LINE, ANGLE, CURVE, CLOSED, LIST = (
    f"vtkMRMLMarkups{name}Node" for name in ("Line", "Angle", "Curve", "ClosedCurve", "Fiducial")
)
OF_REGION = {"mean": 12.5, "stdDev": 3.25, "max": 40.0, "area": 321.0, "areaUnit": "mm²", "modalityUnit": "HU"}
HOUNSFIELD = "[hnsf'U]"
SAID_OF_REGION = {
    "42798000": (321.0, "mm2"), "373098007": (12.5, HOUNSFIELD), "386136009": (3.25, HOUNSFIELD),
    "56851009": (40.0, HOUNSFIELD),
}  # fmt: skip


@dataclass(frozen=True)
class Tool:
    """An annotation of cornerstone: its points as (column, row), what else it has, and what becomes of it."""

    pixels: list[tuple[float, float]]
    more: dict[str, Any]
    node_class: str
    values: dict[str, tuple[float, str]]


ROUND = SAID_OF_REGION | {"255605001": (-7.0, HOUNSFIELD)}
OPEN = [(10.0, 10.0), (30.0, 9.0), (41.0, 22.0), (28.0, 30.0)]
THEIRS = {
    # -0.5 is the edge of the first pixel, where columns and rows are 0, which `point[0] || point.x` would lose.
    "Length": Tool(
        [(-0.5, -0.5), (40, 33)], {"stats": {"length": 40.5, "unit": "mm"}}, LINE, {"410668003": (40.5, "mm")}
    ),
    "Bidirectional": Tool(
        [(6, 20), (46, 20), (28, 12), (28, 30)],  # the longer axis first
        {"stats": {"length": 52.0, "width": 12.6, "unit": "mm", "widthUnit": "mm"}},
        LINE, {"103339001": (52.0, "mm"), "103340004": (12.6, "mm")},
    ),
    "Angle": Tool([(10, 10), (30, 35), (44, 12)], {"stats": {"angle": 71.5}}, ANGLE, {"285285000": (71.5, "deg")}),
    "CobbAngle": Tool(
        [(10, 10), (30, 14), (12, 36), (40, 24)], {"stats": {"angle": 33.25}}, CURVE, {"285285000": (33.25, "deg")}
    ),
    "EllipticalROI": Tool(
        [(6, 20), (42, 20), (24, 12), (24, 28)],  # major axis first
        {"stats": OF_REGION | {"min": -7.0}}, CLOSED, ROUND,
    ),
    "CircleROI": Tool(
        [(24, 20), (30, 20)],
        {"stats": OF_REGION | {"min": -7.0, "radius": 13.0, "radiusUnit": "mm", "perimeter": 26 * math.pi}},
        CLOSED, ROUND | {"131191004": (26 * math.pi, "mm"), "131190003": (13.0, "mm")},
    ),
    "RectangleROI": Tool(
        [(10, 12), (40, 12), (10, 34), (40, 34)], {"stats": OF_REGION | {"perimeter": 148.8}},
        CLOSED, SAID_OF_REGION | {"131191004": (148.8, "mm")},
    ),
    "PlanarFreehandROI": Tool(
        [*OPEN, (12, 31)], {"closed": True, "stats": OF_REGION | {"perimeter": 101.0}},
        CLOSED, SAID_OF_REGION | {"131191004": (101.0, "mm")},
    ),
    "PlanarFreehandROIOpen": Tool(
        OPEN, {"closed": False, "stats": {"perimeter": 77.0}}, CURVE, {"131191004": (77.0, "mm")}
    ),
    "LivewireContour": Tool(OPEN, {"closed": True, "stats": OF_REGION}, CLOSED, SAID_OF_REGION),
    "SplineROI": Tool(
        [*OPEN, (12, 31)], {"closed": True, "stats": OF_REGION, "splineType": "CATMULLROM"}, CLOSED, SAID_OF_REGION
    ),
    "Probe": Tool([(17.5, 23.75)], {}, LIST, {}),
    "ArrowAnnotate": Tool([(17, 23), (40, 30)], {}, LINE, {}),
}  # fmt: skip
SITES = [plain(LIVER), plain(LEFT)]
LONG = "a label that is longer than the 64 characters that a Code Meaning has: µ"


def label_of(kind: str) -> str:
    return LONG if kind == "ArrowAnnotate" else f"{kind} 1 µ"


def annotation(kind: str, images: SeriesOfImages, on_image: bool = True) -> dict[str, Any]:
    tool, plane = THEIRS[kind], 2
    points = images.of_pixels(plane, tool.pixels).tolist()
    found = {"tool": kind.removesuffix("Open"), "points": points, "label": label_of(kind), "finding": plain(MASS)}
    if on_image:
        found |= {"image": images.uid(plane), "frame": (images.frames(plane) or [1])[0]}
    else:
        found |= {"frameOfReference": images.frame_of_reference}
    if kind == "SplineROI":
        found["controlPoints"] = points[::2]
    return found | {"findingSites": SITES, "textBox": images.of_pixels(plane, [(3, 36)])[0].tolist()} | tool.more


@dataclass
class Loaded:
    """A report of all tools by cornerstone, and what was loaded of it: label -> nodes."""

    images: SeriesOfImages
    entries: list[dict[str, Any]]
    path: Path
    nodes: list[Any]
    database: Any
    shown: dict[str, list[Any]]
    scene: Any
    on_image: bool

    def hydrated(self, path: Path) -> dict[str, list[dict[str, Any]]]:
        return javascript.hydrated(path, self.entries, corrected=True)


def loaded(name: str, folder: Path, *, on_image: bool = True, without: tuple[str, ...] = ()) -> Loaded:
    images = SERIES[name](folder / "images")
    entries = javascript.image_entries(*images.datasets)
    given = [annotation(kind, images, on_image) for kind in THEIRS if kind not in without]
    made = javascript.make_reports(entries, given, folder / "made", corrected=True)["All" if on_image else "All3D"]
    path = Path(shutil.copy(made, images.folder / "sr.dcm"))
    database = dicombridge.open_folder(images.folder)
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(str(path), scene=scene, database=database)
    shown: dict[str, list[Any]] = {}
    for node in markups_of(nodes):
        kept = kept_groups(node)
        assert kept is not None, f"{node.GetName()} does not keep its group"
        (group,) = kept.groups.values()
        shown.setdefault(group.comment, []).append(node)
    return Loaded(images, entries, path, nodes, database, shown, scene, on_image)


@pytest.fixture(scope="module", params=[*SERIES, "in space"])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("theirs")
    if request.param == "in space":
        # Without image, they write a Cobb angle's item without its number.
        return loaded("oblique", folder, on_image=False, without=("CobbAngle",))
    return loaded(request.param, folder)


def kinds(report: Loaded) -> list[str]:
    labels = {label_of(kind): kind for kind in THEIRS}
    return [labels[label] for label in report.shown]


def test_every_annotation_is_shown_once(theirs: Loaded) -> None:
    """Places of labels, handles and kinds of splines are no findings, and nothing of them is shown."""
    assert set(kinds(theirs)) >= set(THEIRS) - {"CobbAngle"}
    for kind in kinds(theirs):
        nodes, label = theirs.shown[label_of(kind)], label_of(kind)
        assert [node.GetClassName() for node in nodes] == [THEIRS[kind].node_class] * (
            2 if kind == "Bidirectional" else 1
        )
        names = [f"{label} - {axis} Axis" for axis in ("Long", "Short")] if kind == "Bidirectional" else [label]
        assert [node.GetName() for node in nodes] == names


def test_annotations_are_where_they_were_drawn(theirs: Loaded) -> None:
    for kind in kinds(theirs):
        wanted = np.array(annotation(kind, theirs.images)["points"])
        found = [lps_points(node) for node in theirs.shown[label_of(kind)]]
        if kind in ("EllipticalROI", "CircleROI"):
            assert_round(found[0], wanted, theirs.images if theirs.on_image else None)
            continue
        if kind == "RectangleROI":
            wanted = wanted[[0, 1, 3, 2]]
        assert same_points(np.vstack(found), wanted, NEAR_MM), kind


def assert_round(found: Points, wanted: Points, images: SeriesOfImages | None) -> None:
    """Points go around: a quarter of them is from one axis to the other; two points in space do not say in which plane.

    A CIRCLE that is no SCOORD is cornerstone's own.
    """
    if len(wanted) == 2:
        centre, first = wanted[0], wanted[1] - wanted[0]
        radius = np.linalg.norm(first)
        np.testing.assert_allclose(np.linalg.norm(found - centre, axis=1), radius, atol=NEAR_MM)
        if images is not None:
            assert np.abs((found - centre) @ np.cross(images.row, images.column)).max() < NEAR_MM
        assert same_points(found[[0, 16]], np.stack([centre + first, centre - first]), NEAR_MM)
    else:
        centre = wanted.mean(axis=0)
        assert same_points(found[[0, 16, 8, 24]], wanted[[1, 0, 3, 2]], NEAR_MM)
    assert same_points(found.mean(axis=0)[None], centre[None], NEAR_MM)
    assert len(found) == 32


def test_values_are_under_their_codes(theirs: Loaded) -> None:
    table = theirs.nodes[0]
    uids = {one["label"]: one["trackingUID"] for several in theirs.hydrated(theirs.path).values() for one in several}
    rows = column_of(table, "Tracking UID")
    assert sorted(rows) == sorted(uids.values())
    quantities = {
        name: (table.GetColumnProperty(name, "DICOM.QuantityCode"), table.GetColumnProperty(name, "DICOM.UnitsCode"))
        for name in column_names(table)
        if table.GetColumnProperty(name, "DICOM.UnitsCode")
    }
    for kind in kinds(theirs):
        row = rows.index(uids[label_of(kind)])
        found = {
            _value(quantity): (column_of(table, name)[row], _value(unit))
            for name, (quantity, unit) in quantities.items()
            if not math.isnan(column_of(table, name)[row])
        }
        wanted = {code: (pytest.approx(value), unit) for code, (value, unit) in THEIRS[kind].values.items()}
        assert found == wanted, kind
        (group, *_) = kept_groups(theirs.shown[label_of(kind)][0]).groups.values()  # type: ignore[union-attr]
        said = {one.concept.value: (one.value, one.units.value if one.units else "") for one in group.measurements}
        assert said == wanted, kind


def _value(text: str) -> str:
    """The code value of ``CodeValue:..|CodingSchemeDesignator:..|CodeMeaning:..``."""
    return unquote(text.split("|")[0].removeprefix("CodeValue:"))


def test_findings_and_sites(theirs: Loaded) -> None:
    """They write sites as CONTAINS, where the standard has HAS CONCEPT MOD."""
    assert {one["relationship"] for group in javascript.groups(theirs.path) for one in group["codes"]} == {"CONTAINS"}
    for kind in kinds(theirs):
        for node in theirs.shown[label_of(kind)]:
            kept = kept_groups(node)
            assert kept is not None
            (group,) = kept.groups.values()
            assert group.finding is not None
            assert (group.finding.value, group.finding.scheme_designator) == MASS[:2]
            assert [site.code.value for site in group.sites] == [LIVER[0], LEFT[0]]
            terminology = node.GetAttribute("Terminologies.TerminologyEntry")
            assert f"~SCT^{MASS[0]}^{MASS[2]}~" in terminology
            assert f"~SCT^{LIVER[0]}^{LIVER[2]}~" in terminology


# --- And they read again what we write of theirs ---------------------------------------------------------------------


def test_what_was_not_edited_comes_back_as_it_was(theirs: Loaded, tmp_path: Path) -> None:
    """Tracking UIDs too, of which cornerstone makes new ones at each save; and labels, their places, handles."""
    before = theirs.hydrated(theirs.path)
    assert sum(map(len, before.values())) == len(theirs.shown)
    for profile in ("standard", "ohif") if theirs.on_image else ("standard",):
        (path,) = dicombridge.export(
            theirs.nodes, tmp_path / profile, kind="SR", database=theirs.database, profile=profile
        )
        assert theirs.hydrated(path) == before
        assert javascript.groups(path) == javascript.groups(theirs.path)
        # A circle in space is their error, and stays.
        assert_report_valid(path, [theirs.path, *theirs.images.paths], tmp_path, errors_of(theirs.path))


MOVED = {  # tool -> number of a control point, where it is put (column, row), and what the adapters then find
    "Length": (1, (38.0, 30.0), [(-0.5, -0.5), (38, 30)], {"length": math.hypot(38.5 * 1.3, 30.5 * 0.7)}),
    "Bidirectional": (1, (40.0, 20.0), [(6, 20), (40, 20), (28, 12), (28, 30)], {"length": 34 * 1.3, "width": 12.6}),
    "Angle": (1, (30.0, 12.0), [(10, 10), (30, 12), (44, 12)], {}),
    "PlanarFreehandROI": (1, (32.5, 11.0), [OPEN[0], (32.5, 11), *OPEN[2:], (12, 31)], {}),
}


@pytest.mark.parametrize("kind", MOVED)
def test_what_was_edited_is_taken_up_where_it_is_now(kind: str, tmp_path: Path) -> None:
    theirs = loaded("oblique", tmp_path)
    number, place, pixels, stats = MOVED[kind]
    x, y, z = theirs.images.of_pixels(2, [place])[0]
    theirs.shown[label_of(kind)][0].SetNthControlPointPositionWorld(number, -x, -y, z)
    (path,) = dicombridge.export(theirs.nodes, tmp_path / "out", kind="SR", database=theirs.database, profile="ohif")
    before, after = theirs.hydrated(theirs.path), theirs.hydrated(path)
    was, now = before[kind].pop(0), after[kind].pop(0)
    assert after == before  # nothing else was touched
    assert None not in now["points"]
    assert same_points(now["points"], theirs.images.of_pixels(2, pixels), NEAR_MM)
    same = ("trackingUID", "trackingIdentifier", "label", "image", "finding", "findingSites", "closed", "textBox")
    assert {key: now[key] for key in same} == {key: was[key] for key in same}
    assert {key: now["stats"][key] for key in stats} == pytest.approx(stats, rel=1e-6)


def test_an_edited_spline_is_a_contour(tmp_path: Path) -> None:
    """From the control points that it had, the adapters would build the old spline again."""
    theirs = loaded("oblique", tmp_path)
    x, y, z = theirs.images.of_pixels(2, [(28.0, 2.0)])[0]
    theirs.shown[label_of("SplineROI")][0].SetNthControlPointPositionWorld(1, -x, -y, z)
    (path,) = dicombridge.export(theirs.nodes, tmp_path / "out", kind="SR", database=theirs.database, profile="ohif")
    before, after = theirs.hydrated(theirs.path), theirs.hydrated(path)
    (was,) = before["SplineROI"]
    assert not after.get("SplineROI")
    (now,) = [one for one in after["PlanarFreehandROI"] if one["trackingUID"] == was["trackingUID"]]
    wanted = np.array(was["points"])
    wanted[1] = x, y, z
    assert same_points(now["points"], wanted, NEAR_MM)


def test_a_number_that_is_missing(tmp_path: Path) -> None:
    """Without image, the adapters write the number of a Cobb angle without its value; the group is itself anyway."""
    theirs = loaded("oblique", tmp_path, on_image=False)
    (node,) = theirs.shown[label_of("CobbAngle")]
    (path,) = dicombridge.export(node, tmp_path / "out", kind="SR", database=theirs.database)
    [was], [now] = (theirs.hydrated(one)["CobbAngle"] for one in (theirs.path, path))
    assert now["trackingUID"] == was["trackingUID"]
    assert same_points(now["points"], np.array(was["points"]), NEAR_MM)
