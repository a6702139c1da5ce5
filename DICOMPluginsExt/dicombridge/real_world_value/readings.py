"""Which real world values an object or an image offers, and which items say so for which plane (no VTK here)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.image.enhanced import frame_groups, group_item
from dicombridge.image.headers import MULTI_FRAME_CLASSES, Plane, read_dataset, text_of, whole
from dicombridge.tolerance import reading
from dicombridge.value_mapping import ValueMapping, families, mappings_of_sequence

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "ALL_IMAGES",
    "MAPPINGS",
    "STORAGE",
    "Key",
    "Reading",
    "chosen_reading",
    "readings_of_items",
    "readings_of_object",
    "readings_of_planes",
]

STORAGE = "1.2.840.10008.5.1.4.1.1.67"
"""SOP Class UID of Real World Value Mapping objects."""

MAPPINGS = "RealWorldValueMappingSequence"

Key = tuple[str, int]
"""SOP Instance UID, and frame number from 1; 0 is a single-frame image, or all frames of a multi-frame image."""

ALL_IMAGES: Key = ("", 0)
"""The key of items that name no image: they are for all images that the object refers to."""

_HEADER_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "PixelRepresentation",
    "NumberOfFrames",
    MAPPINGS,
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)


_Found = dict[tuple[str, str, int], dict[Key, tuple[ValueMapping, ...]]]
"""Label, units and number of a reading to its items."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One meaning of the stored values: e.g. SUV by body weight.

    Attributes
    ----------
    name
        For a person, and for the option ``mapping``; unlike all other ones of its object.
    items
        The mappings that hold for a plane, by instance and frame.
    """

    name: str
    items: Mapping[Key, tuple[ValueMapping, ...]] = field(default_factory=dict)

    @property
    def first(self) -> ValueMapping:
        """One of the mappings: label, units and quantity are those of all."""
        return next(iter(self.items.values()))[0]

    def of_plane(self, plane: Plane) -> tuple[ValueMapping, ...]:
        """Return the mappings that hold for a plane; none where the object does not map it."""
        # Some writers give single-frame images the frame number 1, which is theirs (PS3.3 10.3 asks for none).
        keys = ((plane.sop_instance_uid, plane.frame or 1), (plane.sop_instance_uid, 0), ALL_IMAGES)
        return next((self.items[key] for key in keys if key in self.items), ())

    @property
    def words(self) -> str:
        """Units and quantity for a person."""
        units, quantity = self.first.units, self.first.quantity
        meaning = quantity.meaning if quantity is not None else self.first.explanation
        of_units = f"in {units.meaning} ({units.value})" if units is not None else "without units"
        return f"{meaning or 'Real world values'} {of_units}"


def readings_of_items(of_images: Iterable[tuple[Iterable[Key], Sequence[ValueMapping]]]) -> list[Reading]:
    """Return the readings of pairs of images and the items that hold for them."""
    found: _Found = {}
    for keys, mappings in of_images:
        keys = list(keys)
        for family in families(mappings):
            items = _items_of(found, family, keys)
            for key in keys:
                # An image that several items of the outer sequence name is mapped by all of them.
                items[key] = (*items.get(key, ()), *family)
    return [Reading(name, items) for name, items in zip(_names(found), found.values(), strict=True)]


def _items_of(
    found: _Found, family: Sequence[ValueMapping], keys: Sequence[Key]
) -> dict[Key, tuple[ValueMapping, ...]]:
    """Return the items of the reading that a family belongs to: of its label and units, and no alternative to it."""
    units = family[0].units
    meaning = family[0].label, units.value if units is not None else ""
    number = 1
    while any(
        one.overlaps(other) or not one.means_the_same(other)
        for key in keys
        for one in found.get((*meaning, number), {}).get(key, ())
        for other in family
    ):
        number += 1
    return found.setdefault((*meaning, number), {})


def _names(found: _Found) -> list[str]:
    """Return a name for each reading: its label, with units and number where that is needed to tell them apart."""
    names: list[str] = []
    for (label, units, _), items in found.items():
        first = next(iter(items.values()))[0]
        name = label or units or first.explanation or "real world values"
        for candidate in (name, f"{name} ({units})", *(f"{name} ({number})" for number in range(2, len(found) + 2))):
            if candidate not in names:
                names.append(candidate)
                break
    return names


def readings_of_object(header: Dataset, path: str, signed: bool | None = None) -> list[Reading]:
    """Return the readings of a Real World Value Mapping object.

    Parameters
    ----------
    signed
        Whether the images that it maps have signed values, if that is known.

    Raises
    ------
    UnreadableError
        The object is damaged, or maps nothing.
    """
    if text_of(header, "SOPClassUID") != STORAGE:
        raise UnsupportedError(f"{path}: is no Real World Value Mapping object.")
    with reading(path):
        pairs = [
            (_keys(item), mappings_of_sequence(item.get(MAPPINGS), signed, path))
            for item in header.get("ReferencedImageRealWorldValueMappingSequence") or ()
        ]
        readings = readings_of_items(pairs)
    if not readings:
        raise UnreadableError(path, "holds no real world value mapping.")
    return readings


def _keys(item: Dataset) -> list[Key]:
    """Return the images and frames that an item of the outer sequence is for."""
    keys: list[Key] = []
    for image in item.get("ReferencedImageSequence") or ():
        uid = str(image.get("ReferencedSOPInstanceUID") or "")
        frames = image.get("ReferencedFrameNumber")
        if frames is None:
            keys.append((uid, 0))
        elif isinstance(frames, str | int):
            keys.append((uid, int(frames)))
        else:
            keys.extend((uid, int(frame)) for frame in frames)
    return [key for key in keys if key[0]] or [ALL_IMAGES]


def readings_of_planes(planes: Iterable[Plane]) -> list[Reading]:
    """Return the readings that images carry themselves, for all of the planes; headers are read.

    Raises
    ------
    UnreadableError
        A file or a mapping in it is damaged.
    """
    pairs: list[tuple[list[Key], list[ValueMapping]]] = []
    for path in dict.fromkeys(plane.path for plane in planes):
        header = read_dataset(path, _HEADER_KEYWORDS)
        signed = whole(text_of(header, "PixelRepresentation")) == 1
        uid = text_of(header, "SOPInstanceUID")
        with reading(path):
            if text_of(header, "SOPClassUID") in MULTI_FRAME_CLASSES:
                pairs.extend(_of_frames(path, header, uid, signed))
            else:
                pairs.append(([(uid, 0)], mappings_of_sequence(header.get(MAPPINGS), signed, path)))
    return readings_of_items(pairs)


def _of_frames(path: str, header: Dataset, uid: str, signed: bool) -> Iterable[tuple[list[Key], list[ValueMapping]]]:
    """Yield frames and their items; a shared group is parsed once."""
    groups = frame_groups(path, header)
    shared = groups[0][1].get(MAPPINGS) if groups and groups[0][1] is not None else None
    with_shared: list[Key] = []
    for number, (own, _) in enumerate(groups, start=1):
        if group_item((own,), MAPPINGS) is not None:
            yield [(uid, number)], mappings_of_sequence(own.get(MAPPINGS), signed, path)
        elif shared:
            with_shared.append((uid, number))
    if with_shared:
        yield with_shared, mappings_of_sequence(shared, signed, path)


def chosen_reading(readings: Sequence[Reading], name: str | None) -> Reading | None:
    """Return the reading that a person means: by its name, label, units or quantity; the first one without a name.

    Raises
    ------
    UnsupportedError
        The name fits several ones.
    """
    if not name:
        return readings[0] if readings else None
    wanted = _plain(name)
    for words in (_name, _label, _units, _annotation, _quantity):
        fitting = [one for one in readings if wanted and _plain(words(one)) == wanted]
        if len(fitting) > 1:
            names = ", ".join(one.name for one in fitting)
            raise UnsupportedError(f"The mapping {name!r} may be any of {names}; give one of these names.")
        if fitting:
            return fitting[0]
    return None


def _name(one: Reading) -> str:
    return one.name


def _label(one: Reading) -> str:
    return one.first.label


def _units(one: Reading) -> str:
    return one.first.units.value if one.first.units is not None else ""


def _annotation(one: Reading) -> str:
    """Return what stands in braces: SUVbw of {SUVbw}g/ml."""
    return _units(one).partition("{")[2].partition("}")[0]


def _quantity(one: Reading) -> str:
    return one.first.quantity.meaning if one.first.quantity is not None else ""


def _plain(name: Any) -> str:
    return " ".join(str(name).casefold().split())
