"""What the headers of image files say about their planes, as plain values.

A :class:`Plane` is a single-frame instance or one frame of a multi-frame instance: from here on both are the
same. Values come from a database's tag cache (single-frame only: a cache holds no sequences) or from the file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dicombridge.deflated import plain_source
from dicombridge.errors import DicomBridgeError, GeometryError, UnreadableError
from dicombridge.geometry import plausible, unit_normal
from dicombridge.image.enhanced import frame_values
from dicombridge.tolerance import quiet

__all__ = [
    "MULTI_FRAME_CLASSES",
    "TAGS",
    "Plane",
    "database_values",
    "planes_of_file",
    "read_dataset",
    "text_of",
]

MULTI_FRAME_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image Storage
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR Image Storage
        "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET Image Storage
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET Image Storage
    }
)

TAGS: Mapping[str, str] = {
    "SOPClassUID": "0008,0016",
    "SOPInstanceUID": "0008,0018",
    "SeriesInstanceUID": "0020,000E",
    "FrameOfReferenceUID": "0020,0052",
    "Rows": "0028,0010",
    "Columns": "0028,0011",
    "PixelSpacing": "0028,0030",
    "ImageOrientationPatient": "0020,0037",
    "ImagePositionPatient": "0020,0032",
    "InstanceNumber": "0020,0013",
    "SeriesNumber": "0020,0011",
    "SeriesDescription": "0008,103E",
    "Modality": "0008,0060",
    # What can tell images at one position apart, the most telling first.
    "TemporalPositionIdentifier": "0020,0100",
    "EchoTime": "0018,0081",
    "DiffusionBValue": "0018,9087",
    "TriggerTime": "0018,1060",
    "AcquisitionNumber": "0020,0012",
    "ImageType": "0008,0008",
    "EchoNumbers": "0018,0086",
    "InversionTime": "0018,0082",
    "FlipAngle": "0018,1314",
    "DiffusionGradientOrientation": "0018,9089",
    "FrameReferenceTime": "0054,1300",
    "ConvolutionKernel": "0018,1210",
    "AcquisitionTime": "0008,0032",
    "ContentTime": "0008,0033",
}
"""Keyword to tag, as a database is asked for it."""

_SYNTAX_BY_ENCODING = {
    (True, True): "1.2.840.10008.1.2",
    (False, True): "1.2.840.10008.1.2.1",
    (False, False): "1.2.840.10008.1.2.2",
    (True, False): "1.2.840.10008.1.2.2",
}

_MARKS: Mapping[str, str] = {
    "TemporalPositionIdentifier": "time point",
    "EchoTime": "echo time",
    "DiffusionBValue": "b-value",
    "TriggerTime": "trigger time",
    "AcquisitionNumber": "acquisition",
    "ImageType": "image type",
    "EchoNumbers": "echo",
    "InversionTime": "inversion time",
    "FlipAngle": "flip angle",
    "DiffusionGradientOrientation": "gradient direction",
    "FrameReferenceTime": "reference time",
    "ConvolutionKernel": "kernel",
    "AcquisitionTime": "acquisition time",
    "ContentTime": "content time",
}


@dataclass(frozen=True, eq=False)
class Plane:
    """One image plane.

    Attributes
    ----------
    path
        The file.
    frame
        Frame number from 1 in a multi-frame instance, 0 for a single-frame instance.
    shape
        Rows, columns; None where the header does not say.
    spacing
        PixelSpacing: mm between rows, mm between columns; None if absent.
    orientation, position
        ImageOrientationPatient (6,) and ImagePositionPatient (3,), LPS mm; None if absent.
    stack
        StackID of a frame (PS3.3 C.7.6.16.2.2); frames of two stacks never share a volume.
    ask_marks
        Returns :attr:`marks`: many values, each of which may cost a database a look into the file, and seldom wanted.
    """

    path: str
    frame: int
    sop_class_uid: str
    sop_instance_uid: str
    frame_of_reference_uid: str
    shape: tuple[int, int] | None
    spacing: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    instance_number: int | None
    stack: str = ""
    ask_marks: Callable[[], Mapping[str, str]] = dict

    @functools.cached_property
    def marks(self) -> Mapping[str, str]:
        """What may tell this plane from another one at the same position, in words, the most telling first."""
        return self.ask_marks()

    @property
    def lacks(self) -> str:
        """What the header lacks to place this plane in space, in words; empty if nothing."""
        wanted = {
            "size": self.shape,
            "pixel spacing": self.spacing,
            "orientation": self.orientation,
            "position": self.position,
        }
        return ", ".join(name for name, value in wanted.items() if value is None)

    @property
    def distance(self) -> float:
        """Signed distance (mm) from the origin along the plane's normal."""
        return float(np.dot(self.position or (), _normal(self.orientation or ())))


@functools.lru_cache(maxsize=64)
def _normal(orientation: tuple[float, ...]) -> Any:
    return unit_normal(orientation)


def numbers(text: str, count: int) -> tuple[float, ...] | None:
    """Return ``count`` finite numbers of a backslash separated text, or None.

    >>> numbers("0.5\\\\0.25", 2)
    (0.5, 0.25)
    >>> numbers("0.5", 2) is None
    True
    """
    try:
        values = tuple(float(part) for part in text.split("\\"))
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def whole(text: str) -> int | None:
    """Return a whole number, or None."""
    value = numbers(text, 1)
    return int(value[0]) if value is not None else None


def database_values(database: Any, path: str) -> Callable[[str], str]:
    """Return a function from keyword to the value that a database holds of this file."""
    return lambda keyword: str(database.fileValue(path, TAGS[keyword]) or "").strip()


def text_of(dataset: Any, keyword: str) -> str:
    """Return an element as the text that a database holds: backslashes between values, empty if absent or invalid."""
    try:
        with quiet():
            value = dataset.get(keyword)
    except Exception:  # pydicom converts values late and raises many kinds of errors for bad ones
        return ""
    if value is None:
        return ""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value).strip()
    return "\\".join(str(part).strip() for part in value)


def read_dataset(path: str, keywords: tuple[str, ...] | None = None, pixels: bool = False) -> Any:
    """Read a file with pydicom: its header (of it only some elements, if ``keywords`` are given), or all of it.

    Raises
    ------
    UnreadableError
        The file cannot be read, or is not DICOM.
    """
    from pydicom import dcmread

    try:
        with quiet():
            # Files without preamble are DICOM too, and the check for SOPClassUID below finds what is not.
            source = plain_source(path, beginning=keywords is not None and not pixels)
            dataset = dcmread(source, stop_before_pixels=not pixels, specific_tags=_tags(keywords), force=True)
            sop_class = str(dataset.get("SOPClassUID", ""))
    except DicomBridgeError:
        raise
    except OSError as error:
        raise UnreadableError(path, f"cannot be read ({error.strerror or error})") from error
    except Exception as error:  # pydicom raises nearly every kind of error for damaged files
        raise UnreadableError(path, f"is damaged ({type(error).__name__}: {error})") from error
    if not sop_class:
        raise UnreadableError(path, "is not a DICOM image: it has no SOP Class UID")
    if "TransferSyntaxUID" not in dataset.file_meta:
        # A file without meta information; its encoding was found by trial.
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = _SYNTAX_BY_ENCODING[bool(implicit), bool(little)]
    return dataset


@functools.lru_cache(maxsize=16)
def _tags(keywords: tuple[str, ...] | None) -> list[Any] | None:
    from pydicom.datadict import tag_for_keyword

    return None if keywords is None else [tag_for_keyword(keyword) for keyword in keywords]


def plane_of_values(path: str, value: Callable[[str], str]) -> Plane:
    """Return the plane of a single-frame instance from its header values."""
    rows, columns = whole(value("Rows")), whole(value("Columns"))
    return Plane(
        path=path,
        frame=0,
        sop_class_uid=value("SOPClassUID"),
        sop_instance_uid=value("SOPInstanceUID"),
        frame_of_reference_uid=value("FrameOfReferenceUID"),
        shape=(rows, columns) if rows and columns and min(rows, columns) > 0 else None,
        spacing=positive(numbers(value("PixelSpacing"), 2)),
        orientation=directions(numbers(value("ImageOrientationPatient"), 6)),
        position=near(numbers(value("ImagePositionPatient"), 3)),
        instance_number=whole(value("InstanceNumber")),
        ask_marks=functools.partial(_marks_of_values, value),
    )


@quiet()
def planes_of_file(path: str, dataset: Any) -> list[Plane]:
    """Return the planes of a file whose header was read: one, or one a frame.

    Raises
    ------
    UnreadableError
        Number of frames and functional groups contradict each other.
    """
    first = plane_of_values(path, functools.partial(text_of, dataset))
    if first.sop_class_uid not in MULTI_FRAME_CLASSES:
        return [first]
    planes = []
    for number, values in enumerate(frame_values(path, dataset), start=1):
        planes.append(
            Plane(
                path=path,
                frame=number,
                sop_class_uid=first.sop_class_uid,
                sop_instance_uid=first.sop_instance_uid,
                frame_of_reference_uid=first.frame_of_reference_uid,
                shape=first.shape,
                spacing=positive(numbers(values["spacing"], 2)),
                orientation=directions(numbers(values["orientation"], 6)),
                position=near(numbers(values["position"], 3)),
                instance_number=first.instance_number,
                stack=values["stack"],
                ask_marks=functools.partial(_marks_of_frame, values),
            )
        )
    return planes


def _marks_of_values(value: Callable[[str], str]) -> Mapping[str, str]:
    return {words: text for keyword, words in _MARKS.items() if (text := value(keyword))}


def _marks_of_frame(values: Mapping[str, str]) -> Mapping[str, str]:
    return {words: text for words, text in values.items() if words not in _PLACE and text}


_PLACE = frozenset({"spacing", "orientation", "position", "stack"})


def near(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Return a position that an image of a patient can have, else None."""
    return values if values is not None and plausible(values) else None


def positive(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Return lengths that are all above zero, else None."""
    return values if values is not None and min(values) > 0 and plausible(values) else None


@functools.lru_cache(maxsize=64)
def directions(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Return six direction cosines made exactly perpendicular unit vectors, None if they are far from it.

    Headers round cosines to three digits and more; both vectors take half of the correction.
    """
    if values is None:
        return None
    try:
        normal = unit_normal(values)
    except GeometryError:
        return None
    row, column = np.asarray(values[:3]), np.asarray(values[3:])
    row, column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    skew = (row @ column) / 2
    if abs(skew) < 1e-12:
        return tuple(row.tolist() + column.tolist())
    middle = row + column
    middle /= np.linalg.norm(middle)
    across = np.cross(normal, middle)
    row, column = (middle - across) / np.sqrt(2), (middle + across) / np.sqrt(2)
    return tuple(row.tolist() + column.tolist())
