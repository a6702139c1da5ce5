"""Structured reports as programs in the field write them, and broken ones, made item by item.

:data:`ODD` are documents that say something; each comes with what. :data:`BROKEN` are documents with a fault somewhere,
around which the rest can be read; each comes with a good group, ``"good"``, whose length is 10.5 mm.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from support.items import code, item
from support.sr_documents import (
    AREA,
    BASIC_TEXT_SR,
    COMPREHENSIVE_3D_SR,
    DEGREE,
    IMAGE_REGION,
    LENGTH,
    LIVER,
    MASS,
    MM,
    MM2,
    SITE,
    Concept,
    content,
    dcm,
    document,
    group,
    measurement_report,
    named,
    number,
    region,
    save,
    sct,
)  # fmt: skip
from support.sr_images import SeriesOfImages, write_series
from support.sr_objects import Case, Expected, ExpectedGroup, ExpectedMeasurement, ExpectedRegion

LINE = [(4.5, 8.25), (30.0, 8.25)]
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"


def _pair(concept: Concept) -> tuple[str, str]:
    return concept[0], concept[1]


def _measured(concept: Concept, value: float, units: Concept, *points: Any) -> ExpectedMeasurement:
    return ExpectedMeasurement(_pair(concept), value, _pair(units), points=list(points))


def _line_group(images: SeriesOfImages, name: str, plane: int = 0, **values: Any) -> tuple[Dataset, ExpectedGroup]:
    """A group with a line in an image and its length; ``values`` are those of a group."""
    uid = generate_uid()
    made = group(name, uid, region(images, plane, "POLYLINE", LINE), number(LENGTH, 10.5, MM), **values)
    said = ExpectedGroup(name, uid, values.get("template", "1410"), _pair(values.get("finding", MASS)))
    if values.get("site"):
        said.sites = [(_pair(values["site"]), None, None)]
    said.measurements = [_measured(LENGTH, 10.5, MM)]
    said.regions = [ExpectedRegion("POLYLINE", images.of_graphic(plane, LINE), image=images.uid(plane))]
    return made, said


def _written(
    folder: Path, images: SeriesOfImages, groups: list[Dataset], said: list[ExpectedGroup], **values: Any
) -> tuple[Path, Expected]:
    ds = document(measurement_report(groups, **values), COMPREHENSIVE_3D_SR, images)
    return save(ds, folder / "sr" / "sr.dcm"), Expected(images, said, ["Doe^Jane"])


# --- Other templates, other codes ----------------------------------------------------------------------------------


def one_line(folder: Path, template: str = "1500", **values: Any) -> tuple[Path, Expected]:
    """One group with a line; ``values`` are those of a group."""
    images = write_series(folder / "images")
    made, said = _line_group(images, "line", **values)
    return _written(folder, images, [made], [said], template=template)


def no_template_at_all(folder: Path) -> tuple[Path, Expected]:
    """Neither the root nor the group says its template."""
    images = write_series(folder / "images")
    made, said = _line_group(images, "line", template="")
    return _written(folder, images, [made], [said], template="")


def basic_text(folder: Path) -> tuple[Path, Expected]:
    """A Basic Text SR of paragraphs, one of which points at a place in an image: no group, no template."""
    images = write_series(folder / "images")
    pointed = region(images, 1, "POINT", [(12.25, 7.75)], relation="INFERRED FROM", concept=None)
    text = content("TEXT", dcm("121071", "Finding"), "A mass: see the mark", pointed)
    title = ("18748-4", "LN", "Diagnostic Imaging Report")
    root = content("CONTAINER", title, None, content("CONTAINER", dcm("121070", "Findings"), None, text))
    said = ExpectedGroup("", "", "")
    said.regions = [
        ExpectedRegion("POINT", images.of_graphic(1, [(12.25, 7.75)]), image=images.uid(1), purpose=("", ""))
    ]
    return save(document(root, BASIC_TEXT_SR, images), folder / "sr" / "sr.dcm"), Expected(images, [said])


def empty_patient(folder: Path) -> tuple[Path, Expected]:
    """As dcmjs writes it: attributes of patient and study are there without a value, or not at all."""
    images = write_series(folder / "images")
    made, said = _line_group(images, "line")
    ds = document(measurement_report([made]), COMPREHENSIVE_3D_SR, images, StudyDate=None, StudyTime=None)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
        setattr(ds, keyword, "")
    return save(ds, folder / "sr" / "sr.dcm"), Expected(images, [said], ["Doe^Jane"])


def modifiers_of_a_site(folder: Path) -> tuple[Path, Expected]:
    """A site with a side and two topographical modifiers."""
    images = write_series(folder / "images")
    uid = generate_uid()
    left, upper, front = sct("7771000", "Left"), sct("45653009", "Upper lobe"), sct("255549009", "Anterior")
    site = content(
        "CODE", SITE, sct("39607008", "Lung"),
        content("CODE", sct("272741003", "Laterality"), left, relation="HAS CONCEPT MOD"),
        content("CODE", sct("106233006", "Topographical modifier"), upper, relation="HAS CONCEPT MOD"),
        content("CODE", sct("106233006", "Topographical modifier"), front, relation="HAS CONCEPT MOD"),
        relation="HAS CONCEPT MOD",
    )  # fmt: skip
    made = group("line", uid, site, region(images, 0, "POLYLINE", LINE), number(LENGTH, 10.5, MM))
    said = ExpectedGroup("line", uid, finding=_pair(MASS), measurements=[_measured(LENGTH, 10.5, MM)])
    said.sites = [(("39607008", "SCT"), _pair(left), _pair(upper), _pair(front))]
    said.regions = [ExpectedRegion("POLYLINE", images.of_graphic(0, LINE), image=images.uid(0))]
    return _written(folder, images, [made], [said])


# --- Other places of the coordinates -------------------------------------------------------------------------------


def bidirectional(folder: Path) -> tuple[Path, Expected]:
    """Long and short axis as dcmjs writes them: numbers inferred from lines that were selected from images."""
    images = write_series(folder / "images", "oblique")
    uid = generate_uid()
    axes = [
        (sct("103339001", "Long axis"), 33.25, [(4.5, 8.25), (30.0, 20.5)]),
        (sct("103340004", "Short axis"), 12.125, [(15.0, 20.0), (20.25, 9.0)]),
    ]
    numbers = [number(*one, MM, _inferred(images, 1, "POLYLINE", data)) for *one, data in axes]
    made = group("Cornerstone3DTools@^0.1.0:Bidirectional", uid, *numbers, site=LIVER, site_relation="CONTAINS",
                 template="1501")  # fmt: skip
    said = ExpectedGroup("Cornerstone3DTools@^0.1.0:Bidirectional", uid, "1501", _pair(MASS))
    said.sites = [(_pair(LIVER), None, None)]
    said.measurements = [_measured(*one, MM, images.of_graphic(1, data)) for *one, data in axes]
    said.regions = [_drawn(images, 1, "POLYLINE", data) for *_, data in axes]
    return _written(folder, images, [made], [said])


def _inferred(images: SeriesOfImages, plane: int, graphic: str, data: Any) -> Dataset:
    return region(images, plane, graphic, data, relation="INFERRED FROM", concept=None)


def _drawn(images: SeriesOfImages, plane: int, graphic: str, data: Any) -> ExpectedRegion:
    return ExpectedRegion(graphic, images.of_graphic(plane, data), image=images.uid(plane), purpose=("", ""))


def angles(folder: Path) -> tuple[Path, Expected]:
    """An angle of three points, and a Cobb angle of four."""
    images = write_series(folder / "images", "coronal")
    drawn = [
        ("Angle", sct("1483009", "Angle"), 71.5, [(10, 10), (30, 38), (44, 12)]),
        ("CobbAngle", sct("285285000", "Cobb angle"), 33.25, [(10, 10), (30, 14), (12, 38), (40, 24)]),
    ]
    made, said = [], []
    for name, concept, value, data in drawn:
        uid = generate_uid()
        measured = number(concept, value, DEGREE, _inferred(images, 2, "POLYLINE", data))
        made.append(group(name, uid, measured, template="1501"))
        one = ExpectedGroup(name, uid, "1501", _pair(MASS))
        one.measurements = [_measured(concept, value, DEGREE, images.of_graphic(2, data))]
        one.regions = [_drawn(images, 2, "POLYLINE", data)]
        said.append(one)
    return _written(folder, images, made, said)


def region_in_space(folder: Path) -> tuple[Path, Expected]:
    """A group whose region is in a structure set (PS3.16 TID 1411, Region in Space)."""
    images = write_series(folder / "images")
    uid, structures = generate_uid(), generate_uid()
    space = content("COMPOSITE", dcm("130488", "Region in Space"), (RT_STRUCTURE_SET, structures))
    made = group("in a structure set", uid, space, number(AREA, 3.5, MM2), template="1411")
    said = ExpectedGroup("in a structure set", uid, "1411", _pair(MASS), measurements=[_measured(AREA, 3.5, MM2)])
    return _written(folder, images, [made], [said])


def by_reference(folder: Path) -> tuple[Path, Expected]:
    """A number that was inferred from the group's region, which it names by its position."""
    images = write_series(folder / "images")
    uid = generate_uid()
    # 1.6.1 is the group in the root's sixth item; three items stand before its region.
    measured = number(LENGTH, 10.5, MM, named(1, 6, 1, 4))
    made = group("by reference", uid, region(images, 0, "POLYLINE", LINE), measured)
    points = images.of_graphic(0, LINE)
    said = ExpectedGroup("by reference", uid, finding=_pair(MASS), measurements=[_measured(LENGTH, 10.5, MM, points)])
    said.regions = [ExpectedRegion("POLYLINE", points, image=images.uid(0))]
    return _written(folder, images, [made], [said])


def nested_groups(folder: Path) -> tuple[Path, Expected]:
    """A group that holds two groups, each of its own time point."""
    images = write_series(folder / "images")
    outer_uid, inner, said = generate_uid(), [], []
    for order, label in enumerate(("Baseline", "Follow-up")):
        made, one = _line_group(images, f"line {label}", order)
        point = content(
            "TEXT", ("C2348792", "UMLS", "Time Point"), label,
            content("NUM", dcm("126073", "Time Point Order"), (order, ("1", "UCUM", "no units"))),
            relation="HAS OBS CONTEXT",
        )  # fmt: skip
        made.ContentSequence.insert(2, point)
        one.time_point = {"label": label}
        inner.append(made)
        said.append(one)
    outer = group("both", outer_uid, *inner, template="1501")
    return _written(folder, images, [outer], [ExpectedGroup("both", outer_uid, "1501", _pair(MASS)), *said])


def many_measurements(folder: Path, groups: int = 100, each: int = 20) -> tuple[Path, Expected]:
    """2,000 numbers in one report."""
    images = write_series(folder / "images")
    made, said = [], []
    for place in range(groups):
        uid = generate_uid()
        numbers = [(LENGTH, place + order / 32, MM) for order in range(each)]
        made.append(group(f"group {place}", uid, *[number(*one) for one in numbers], template="1501"))
        one = ExpectedGroup(
            f"group {place}", uid, "1501", _pair(MASS), measurements=[_measured(*one) for one in numbers]
        )
        said.append(one)
    return _written(folder, images, made, said)


ODD: dict[str, Case] = {
    "TID1500 as identifier": partial(one_line, template="TID1500"),
    "no template": no_template_at_all,
    "basic text": basic_text,
    "site contained": partial(one_line, site=LIVER, site_relation="CONTAINS"),
    "SRT codes": partial(one_line, site=("T-62000", "SRT", "Liver"), finding=("M-03000", "SRT", "Mass")),
    "SNM3 codes": partial(one_line, site=("T-62000", "SNM3", "Liver"), finding=("M-03000", "SNM3", "Mass")),
    "no meanings": partial(one_line, site=("10200004", "SCT", ""), finding=("4147007", "SCT", "")),
    "empty patient": empty_patient,
    "modifiers of a site": modifiers_of_a_site,
    "bidirectional": bidirectional,
    "angles": angles,
    "region in space": region_in_space,
    "by reference": by_reference,
    "nested groups": nested_groups,
    "2,000 measurements": many_measurements,
}
"""Documents that say something in an unusual way, by name."""


# --- Broken documents ----------------------------------------------------------------------------------------------


def _broken(*wrong: Callable[[SeriesOfImages], Dataset]) -> Case:
    """A report with items that are wrong, in a group ``"bad"``, and another group that is good."""

    def write(folder: Path) -> tuple[Path, Expected]:
        images = write_series(folder / "images")
        good, said = _line_group(images, "good")
        bad = group("bad", generate_uid(), *[make(images) for make in wrong])
        return _written(folder, images, [bad, good], [said])

    return write


def _deep(levels: int) -> Dataset:
    """Containers in each other."""
    made = content("TEXT", dcm("121106", "Comment"), "the bottom")
    for _ in range(levels):
        made = content("CONTAINER", dcm("121070", "Findings"), None, made)
    return made


def _image_of_no_series(images: SeriesOfImages) -> Dataset:
    gone = content("IMAGE", None, (images.sop_class, generate_uid()), relation="SELECTED FROM")
    return content("SCOORD", IMAGE_REGION, ("POINT", [(1.0, 2.0)]), gone)


def _in_space(graphic: str, data: Any, **attributes: Any) -> Callable[[SeriesOfImages], Dataset]:
    return lambda images: content("SCOORD3D", IMAGE_REGION, (graphic, data, images.frame_of_reference), **attributes)


def _in_image(graphic: str, data: Any, **attributes: Any) -> Callable[[SeriesOfImages], Dataset]:
    return lambda images: region(images, 0, graphic, data, **attributes)


def _units(value: Any, **attributes: Any) -> Callable[[SeriesOfImages], Dataset]:
    return lambda images: content("NUM", LENGTH, (value, MM), **attributes)


BROKEN: dict[str, Case] = {
    "NUM without sequence": _broken(_units(1, MeasuredValueSequence=None)),
    "NUM without item": _broken(_units(1, MeasuredValueSequence=[])),
    "NUM without number": _broken(
        _units(
            1,
            MeasuredValueSequence=[],
            NumericValueQualifierCodeSequence=[code("114006", "DCM", "Measurement failure")],
        ),
    ),
    "NUM of text": _broken(_units("wide")),
    "NUM of NaN": _broken(_units("NaN")),
    "NUM without units": _broken(_units(1, MeasuredValueSequence=[item(NumericValue="1.5")])),
    "no value type": _broken(_units(1, ValueType=None)),
    "unknown value type": _broken(_units(1, ValueType="HOLOGRAM")),
    "no concept": _broken(_units(1, ConceptNameCodeSequence=None)),
    "empty concept": _broken(_units(1, ConceptNameCodeSequence=[Dataset()])),
    "no relationship": _broken(_units(1, RelationshipType=None)),
    "CODE without code": _broken(lambda _: content("CODE", SITE)),
    "TEXT without text": _broken(lambda _: content("TEXT", dcm("121106", "Comment"))),
    "IMAGE without reference": _broken(lambda _: content("IMAGE", None)),
    "SCOORD of three numbers": _broken(_in_image("POLYLINE", [1.0, 2.0, 3.0])),
    "SCOORD without data": _broken(_in_image("POLYLINE", [1.0], GraphicData=None)),
    "SCOORD without type": _broken(_in_image("POLYLINE", LINE, GraphicType=None)),
    "SCOORD of unknown type": _broken(_in_image("SPLINE", LINE)),
    "SCOORD of NaN": _broken(_in_image("POINT", [(float("nan"), 2.0)])),
    "SCOORD of infinity": _broken(_in_image("POLYLINE", [(1, 2), (float("inf"), 2.0)])),
    "SCOORD far away": _broken(_in_image("POINT", [(1e30, 2.0)])),
    "SCOORD without image": _broken(_in_image("POINT", [(1, 2)], ContentSequence=None)),
    "SCOORD of an unknown image": _broken(_image_of_no_series),
    "CIRCLE of one point": _broken(_in_image("CIRCLE", [(1, 2)])),
    "CIRCLE without radius": _broken(_in_image("CIRCLE", [(1, 2), (1, 2)])),
    "ELLIPSE of two points": _broken(_in_image("ELLIPSE", [(1, 2), (3, 4)])),
    "POINT of two": _broken(_in_image("POINT", [(1, 2), (3, 4)])),
    "SCOORD3D of four numbers": _broken(_in_space("POLYLINE", [1.0, 2.0, 3.0, 4.0])),
    "SCOORD3D without frame": _broken(_in_space("POINT", [(1, 2, 3)], ReferencedFrameOfReferenceUID=None)),
    "ELLIPSOID of four points": _broken(_in_space("ELLIPSOID", np.eye(4, 3))),
    "open POLYGON": _broken(_in_space("POLYGON", [(1, 2, 3), (4, 2, 3), (4, 8, 3)])),
    "reference to itself": _broken(lambda _: number(LENGTH, 1, MM, named(1, 6, 1, 4))),
    "reference to its ancestor": _broken(lambda _: number(LENGTH, 1, MM, named(1, 6, 1), named(1))),
    "reference to nothing": _broken(lambda _: number(LENGTH, 1, MM, named(1, 99, 7), named(4))),
    "references in a ring": _broken(
        lambda _: number(LENGTH, 1, MM, named(1, 6, 1, 5)),
        lambda _: number(LENGTH, 2, MM, named(1, 6, 1, 4)),
    ),
    "100 levels": _broken(lambda _: _deep(100)),
}
"""Reports with something wrong in them, by name; a group that is good beside it is expected."""


# --- Large documents -----------------------------------------------------------------------------------------------


def write_million_points(folder: Path, points: int = 1_000_000, explicit: bool = False) -> tuple[Path, Expected]:
    """A region of one SCOORD3D with MULTIPOINT: 12 MB of Graphic Data in implicit VR, or as UN in explicit VR."""
    images = write_series(folder / "images")
    data = np.random.default_rng(3).uniform(-200, 200, (points, 3)).astype(np.float32)
    uid = generate_uid()
    cloud = content("SCOORD3D", IMAGE_REGION, ("MULTIPOINT", data, images.frame_of_reference))
    ds = document(measurement_report([group("cloud", uid, cloud)]), COMPREHENSIVE_3D_SR, images)
    path = save(ds, folder / "sr" / "sr.dcm", *([] if explicit else [ImplicitVRLittleEndian]))
    said = ExpectedGroup("cloud", uid, finding=_pair(MASS))
    said.regions = [ExpectedRegion("MULTIPOINT", data.astype(float), is_3d=True)]
    return path, Expected(images, [said], ["Doe^Jane"])
