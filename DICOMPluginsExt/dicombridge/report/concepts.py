"""Concept names of measurement reports (PS3.16), by which items are found; older codes of the same meaning too."""

from __future__ import annotations

from collections.abc import Iterable

from dicombridge.codes import Code, modern

__all__ = ["is_one_of", "key"]


def key(code: Code | None) -> tuple[str, str]:
    """Return what tells a concept: value and scheme, of retired SNOMED codes those that replaced them.

    >>> key(Code("G-C0E3", "SRT", "Finding Site"))
    ('363698007', 'SCT')
    """
    if code is None:
        return "", ""
    current = modern(code)
    return current.value, current.scheme_designator


def is_one_of(code: Code | None, concepts: Iterable[Code]) -> bool:
    """Whether a code means one of some concepts."""
    found = key(code)
    return any(found == (concept.value, concept.scheme_designator) for concept in concepts)


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


IMAGING_MEASUREMENT_REPORT = _dcm("126000", "Imaging Measurement Report")
IMAGING_MEASUREMENTS = _dcm("126010", "Imaging Measurements")
MEASUREMENT_GROUP = _dcm("125007", "Measurement Group")
IMAGE_LIBRARY = _dcm("111028", "Image Library")
IMAGE_LIBRARY_GROUP = _dcm("126200", "Image Library Group")

TRACKING_IDENTIFIER = _dcm("112039", "Tracking Identifier")
TRACKING_UNIQUE_IDENTIFIER = _dcm("112040", "Tracking Unique Identifier")
ACTIVITY_SESSION = Code("C67447", "NCIt", "Activity Session")
FINDING_CATEGORY = _sct("276214006", "Finding category")
FINDING = _dcm("121071", "Finding")
FINDING_SITE = _sct("363698007", "Finding Site")
LATERALITY = _sct("272741003", "Laterality")
TOPOGRAPHICAL_MODIFIER = _sct("106233006", "Topographical modifier")
MEASUREMENT_METHOD = _sct("370129005", "Measurement Method")
DERIVATION = _dcm("121401", "Derivation")
COMMENT = _dcm("121106", "Comment")

TIME_POINT = Code("C2348792", "UMLS", "Time Point")
TIME_POINT_TYPE = _dcm("126072", "Time Point Type")
TIME_POINT_ORDER = _dcm("126073", "Time Point Order")
SUBJECT_TIME_POINT = _dcm("126070", "Subject Time Point Identifier")
PROTOCOL_TIME_POINT = _dcm("126071", "Protocol Time Point Identifier")

ALGORITHM_NAME = _dcm("111001", "Algorithm Name")
ALGORITHM_VERSION = _dcm("111003", "Algorithm Version")
ALGORITHM_PARAMETERS = _dcm("111002", "Algorithm Parameters")

OBSERVER_TYPE = _dcm("121005", "Observer Type")
PERSON = _dcm("121006", "Person")
DEVICE = _dcm("121007", "Device")
PERSON_OBSERVER_NAME = _dcm("121008", "Person Observer Name")
PERSON_OBSERVER_ORGANIZATION = _dcm("121009", "Person Observer's Organization Name")
DEVICE_OBSERVER_UID = _dcm("121012", "Device Observer UID")
DEVICE_OBSERVER_NAME = _dcm("121013", "Device Observer Name")
DEVICE_OBSERVER_MANUFACTURER = _dcm("121014", "Device Observer Manufacturer")
DEVICE_OBSERVER_MODEL = _dcm("121015", "Device Observer Model Name")
DEVICE_OBSERVER_SERIAL_NUMBER = _dcm("121016", "Device Observer Serial Number")

LANGUAGE = _dcm("121049", "Language of Content Item and Descendants")
PROCEDURE_REPORTED = _dcm("121058", "Procedure reported")

IMAGE_REGION = _dcm("111030", "Image Region")
VOLUME_SURFACE = _dcm("121231", "Volume Surface")
REGION_IN_SPACE = _dcm("130488", "Region in Space")
REGION_IDENTIFIER = _dcm("130489", "Referenced Region of Interest Identifier")
REFERENCED_SEGMENT = _dcm("121191", "Referenced Segment")
REFERENCED_SEGMENTATION_FRAME = _dcm("121214", "Referenced Segmentation Frame")
SOURCE_IMAGE_FOR_SEGMENTATION = _dcm("121233", "Source image for segmentation")
SOURCE_SERIES_FOR_SEGMENTATION = _dcm("121232", "Source series for segmentation")
REAL_WORLD_VALUE_MAP = _dcm("126100", "Real World Value Map used for measurement")
SOURCE_OF_MEASUREMENT = _dcm("121112", "Source of Measurement")
ORIGINAL_SOURCE = _dcm("111040", "Original Source")
CENTER = _dcm("111010", "Center")
KEY_OBJECT_DESCRIPTION = _dcm("113012", "Key Object Description")

LENGTH = _sct("410668003", "Length")
AREA = _sct("42798000", "Area")
VOLUME = _sct("118565006", "Volume")
PERIMETER = _sct("131191004", "Perimeter")
ANGLE = _sct("1483009", "Angle")
COBB_ANGLE = _sct("285285000", "Cobb angle")
LONG_AXIS = _sct("103339001", "Long axis")
SHORT_AXIS = _sct("103340004", "Short axis")
DIAMETER = _sct("81827009", "Diameter")
MEAN = _sct("373098007", "Mean")
MINIMUM = _sct("255605001", "Minimum")
MAXIMUM = _sct("56851009", "Maximum")
STANDARD_DEVIATION = _sct("386136009", "Standard Deviation")
MEDIAN = _sct("373099004", "Median")

MILLIMETRE = Code("mm", "UCUM", "mm")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "mm2")
CUBIC_MILLIMETRE = Code("mm3", "UCUM", "mm3")
DEGREE = Code("deg", "UCUM", "deg")
NO_UNITS = Code("1", "UCUM", "no units")

CORNERSTONE_SCHEME = "99CS3D"
"""Coding scheme of what Cornerstone3D adds to a shape for itself: control points, label positions."""
CONTROL_POINTS = Code("ControlPoints", CORNERSTONE_SCHEME, "Control Points")
SPLINE_TYPE = Code("SplineType", CORNERSTONE_SCHEME, "Spline Type")

ANGLES = (ANGLE, COBB_ANGLE)
"""Measurements whose three points are an angle."""
