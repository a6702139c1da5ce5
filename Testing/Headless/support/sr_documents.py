"""Structured reports made item by item (PS3.3 C.17.3), right or wrong: a small language for content trees.

A tree is written as it reads::

    content("CONTAINER", TITLE, None,
        content("NUM", LENGTH, (10.5, MM),
            content("SCOORD", None, ("POLYLINE", [(1, 2), (3, 4)]),
                content("IMAGE", None, images, plane=0, relation="SELECTED FROM"),
                relation="INFERRED FROM")),
        template="1500")
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from support.items import code, item, reference
from support.sr_images import SeriesOfImages

Concept = tuple[str, str, str]
"""Value, scheme, meaning; an empty meaning is left out."""

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"

GRAPHIC_DATA = 0x00700022
NUMERIC_VALUE = 0x0040A30A


def dcm(value: str, meaning: str) -> Concept:
    return value, "DCM", meaning


def sct(value: str, meaning: str) -> Concept:
    return value, "SCT", meaning


MM, MM2, DEGREE = ("mm", "UCUM", "mm"), ("mm2", "UCUM", "mm2"), ("deg", "UCUM", "degree")
LENGTH, AREA = sct("410668003", "Length"), sct("42798000", "Area")
FINDING, SITE = dcm("121071", "Finding"), sct("363698007", "Finding Site")
MASS, LIVER = sct("4147007", "Mass"), sct("10200004", "Liver")
IMAGE_REGION = dcm("111030", "Image Region")


# --- Items ---------------------------------------------------------------------------------------------------------


def content(
    value_type: str, concept: Concept | None, value: Any = None, *children: Dataset, relation: str = "CONTAINS",
    template: str = "", **attributes: Any,
) -> Dataset:  # fmt: skip
    """Return a content item.

    Parameters
    ----------
    value
        What :data:`_VALUES` takes for the value type; None for an item without one.
    template
        Of a container: its Template Identifier.
    **attributes
        Set last, so that any of them may be wrong; those of None are removed.
    """
    made = item(RelationshipType=relation, ValueType=value_type)
    if concept is not None:
        made.ConceptNameCodeSequence = [_code(concept)]
    if value_type == "CONTAINER":
        made.ContinuityOfContent = "SEPARATE"
    elif value is not None:
        _VALUES[value_type](made, value)
    if template:
        made.ContentTemplateSequence = [item(MappingResource="DCMR", TemplateIdentifier=template)]
    if children:
        made.ContentSequence = list(children)
    for keyword, one in attributes.items():
        if one is None:
            made.pop(keyword, None)
        else:
            setattr(made, keyword, one)
    return made


def _code(concept: Concept) -> Dataset:
    made = code(*concept)
    if not concept[2]:
        del made.CodeMeaning
    return made


def _text(keyword: str) -> Callable[[Dataset, Any], None]:
    return lambda made, value: setattr(made, keyword, value)


def _number(made: Dataset, value: tuple[Any, Concept]) -> None:
    amount, units = value
    measured = item(MeasurementUnitsCodeSequence=[_code(units)])
    # As it is: what is no number is written too.
    measured[NUMERIC_VALUE] = DataElement(NUMERIC_VALUE, "DS", str(amount), already_converted=True)
    made.MeasuredValueSequence = [measured]


def _graphic(made: Dataset, value: Sequence[Any]) -> None:
    """``(Graphic Type, points)``, and the frame of reference of those in space."""
    made.GraphicType = value[0]
    data = np.asarray(value[1], np.float32)
    if data.nbytes < 1 << 16:
        made.GraphicData = data.ravel().tolist()
    else:  # the length of FL has 16 bits in explicit VR: UN, whose length has 32 (PS3.5 6.2.2 note 2)
        made[GRAPHIC_DATA] = DataElement(GRAPHIC_DATA, "UN", data.astype("<f4").tobytes())
    if len(value) > 2:
        made.ReferencedFrameOfReferenceUID = value[2]


def _reference(made: Dataset, value: Sequence[Any]) -> None:
    """``(SOP Class UID, SOP Instance UID)``, and a frame number."""
    frames = {"ReferencedFrameNumber": value[2]} if len(value) > 2 else {}
    made.ReferencedSOPSequence = [reference(value[0], value[1], **frames)]


_VALUES: dict[str, Callable[[Dataset, Any], None]] = {
    "TEXT": _text("TextValue"),
    "UIDREF": _text("UID"),
    "PNAME": _text("PersonName"),
    "DATE": _text("Date"),
    "TIME": _text("Time"),
    "DATETIME": _text("DateTime"),
    "CODE": lambda made, value: setattr(made, "ConceptCodeSequence", [_code(value)]),
    "NUM": _number,
    "SCOORD": _graphic,
    "SCOORD3D": _graphic,
    "IMAGE": _reference,
    "COMPOSITE": _reference,
    "WAVEFORM": _reference,
}
"""Sets the value of an item, by its value type."""


def named(*position: int, relation: str = "INFERRED FROM") -> Dataset:
    """Return an item that names another one by its position: a by-reference relationship (PS3.3 C.17.3.2.5)."""
    return item(RelationshipType=relation, ReferencedContentItemIdentifier=list(position))


def image_item(
    images: SeriesOfImages, plane: int, relation: str = "SELECTED FROM", concept: Concept | None = None
) -> Dataset:
    """Return the item of the image, and frame, that has a plane."""
    return content(
        "IMAGE", concept, (images.sop_class, images.uid(plane), *(images.frames(plane) or ())), relation=relation
    )


def region(
    images: SeriesOfImages, plane: int, graphic: str, data: Any, relation: str = "CONTAINS", **attributes: Any
) -> Dataset:
    """Return an SCOORD that was selected from the image of a plane."""
    name = attributes.pop("concept", IMAGE_REGION)
    return content("SCOORD", name, (graphic, data), image_item(images, plane), relation=relation, **attributes)


def number(concept: Concept, value: Any, units: Concept, *children: Dataset) -> Dataset:
    return content("NUM", concept, (value, units), *children)


# --- Parts of measurement reports ----------------------------------------------------------------------------------


def tracking(identifier: str, uid: str) -> list[Dataset]:
    return [
        content("TEXT", dcm("112039", "Tracking Identifier"), identifier, relation="HAS OBS CONTEXT"),
        content("UIDREF", dcm("112040", "Tracking Unique Identifier"), uid, relation="HAS OBS CONTEXT"),
    ]


def group(
    identifier: str, uid: str, *children: Dataset, finding: Concept | None = MASS, site: Concept | None = None,
    site_relation: str = "HAS CONCEPT MOD", template: str = "1410",
) -> Dataset:  # fmt: skip
    """Return a Measurement Group."""
    parts = tracking(identifier, uid)
    if finding is not None:
        parts.append(content("CODE", FINDING, finding))
    if site is not None:
        parts.append(content("CODE", SITE, site, relation=site_relation))
    return content("CONTAINER", dcm("125007", "Measurement Group"), None, *parts, *children, template=template)


def measurement_report(groups: Sequence[Dataset], template: str = "1500", observers: bool = True) -> Dataset:
    """Return the root of an Imaging Measurement Report; the groups' container is its last item, 1.4 or 1.6."""
    english, country = ("en", "RFC5646", "English"), ("US", "ISO3166_1", "United States")
    parts = [
        content(
            "CODE", dcm("121049", "Language of Content Item and Descendants"), english,
            content("CODE", dcm("121046", "Country of Language"), country, relation="HAS CONCEPT MOD"),
            relation="HAS CONCEPT MOD",
        ),
        content("CODE", dcm("121058", "Procedure reported"), ("25045-6", "LN", "CT"), relation="HAS CONCEPT MOD"),
    ]  # fmt: skip
    if observers:
        person = dcm("121006", "Person")
        parts.insert(1, content("CODE", dcm("121005", "Observer Type"), person, relation="HAS OBS CONTEXT"))
        name = content("PNAME", dcm("121008", "Person Observer Name"), "Doe^Jane", relation="HAS OBS CONTEXT")
        parts.insert(2, name)
    parts.append(content("CONTAINER", dcm("111028", "Image Library"), None))
    parts.append(content("CONTAINER", dcm("126010", "Imaging Measurements"), None, *groups))
    title = dcm("126000", "Imaging Measurement Report")
    return content("CONTAINER", title, None, *parts, template=template)


# --- Documents -----------------------------------------------------------------------------------------------------


def document(
    root: Dataset, sop_class: str = COMPREHENSIVE_3D_SR, images: SeriesOfImages | None = None, modality: str = "SR",
    **values: Any,
) -> Dataset:  # fmt: skip
    """Return a document (PS3.3 A.35); ``values`` are set last, and those of None are removed."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.StudyInstanceUID = images.study if images is not None else generate_uid()
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = generate_uid(), 50, 1
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Doe^Jane", "P1", "", "F"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "1", ""
    ds.ReferringPhysicianName, ds.Manufacturer, ds.Modality = "", "test", modality
    ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = "test", "1", "1"
    ds.SeriesDescription = "Report"
    ds.ContentDate, ds.ContentTime = "20260102", "130000"
    ds.ReferencedPerformedProcedureStepSequence = []
    if sop_class != KEY_OBJECT_SELECTION:
        ds.CompletionFlag, ds.VerificationFlag, ds.PerformedProcedureCodeSequence = "COMPLETE", "UNVERIFIED", []
    for element in root:
        if element.keyword != "RelationshipType":
            ds[element.tag] = element
    evidence = _evidence(root, images, ds.StudyInstanceUID)
    if evidence:
        ds.CurrentRequestedProcedureEvidenceSequence = evidence
    for keyword, value in values.items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    return ds


def _evidence(root: Dataset, images: SeriesOfImages | None, study: str) -> list[Dataset]:
    """Return the instances that the content refers to: those of the images by their series, others in series anew."""
    own, others = {}, {}
    for one in _references(root):
        known = images is not None and one.ReferencedSOPInstanceUID in images.uids
        found = reference(one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        (own if known else others)[one.ReferencedSOPInstanceUID] = found
    series = [
        item(SeriesInstanceUID=uid, ReferencedSOPSequence=list(instances.values()))
        for uid, instances in ((images.series if images else "", own), (generate_uid(), others))
        if instances
    ]
    return [item(StudyInstanceUID=study, ReferencedSeriesSequence=series)] if series else []


def _references(root: Dataset) -> Iterator[Dataset]:
    waiting = [root]
    while waiting:
        one = waiting.pop()
        yield from one.get("ReferencedSOPSequence") or ()
        waiting.extend(one.get("ContentSequence") or ())


def save(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a document, whatever wrong values it has."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        ds.save_as(path, enforce_file_format=True)
    return path
