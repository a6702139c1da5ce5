"""Per-frame functional groups as columns (PS3.3 C.7.6.16), without a Dataset for each frame.

The items of a file are nearly all alike: the same elements of the same lengths, with other values. So the first item of
each shape is walked, and its shape is kept as a regular expression over bytes, in which all tags, VRs and lengths are
literal; the other items only have to match. An item that matches no known shape is walked itself, so nothing is ever
assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dicombridge.part10 import MAXIMUM_DEPTH, Buffer, TruncatedError, elements, items

__all__ = ["FrameTable", "read_frame_table"]

Path = tuple[int, ...]
"""Tags and item indices, e.g. ``(0x00209113, 0, 0x00200032)`` for the Image Position of the first item."""

_SHAPES_TRIED = 16


@dataclass
class _Shape:
    """Items with the same elements of the same lengths."""

    pattern: re.Pattern[bytes]
    groups: dict[Path, int]


@dataclass
class FrameTable:
    """Values of the per-frame functional groups, by path and frame.

    Attributes
    ----------
    frames
        Number of items.
    """

    _shapes: list[_Shape] = field(default_factory=list)
    _rows: list[tuple[_Shape, tuple[bytes, ...]]] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Number of items of the Per-frame Functional Groups Sequence."""
        return len(self._rows)

    def keep(self, frames: int) -> None:
        """Forget the items after the first ``frames`` ones."""
        del self._rows[frames:]

    def column(self, *path: int) -> list[bytes | None]:
        """Return the raw value at a path in each frame, None where a frame lacks it."""
        return [None if (group := shape.groups.get(path)) is None else values[group] for shape, values in self._rows]

    def has(self, *path: int) -> bool:
        """Whether any frame has a value at, or below, this path."""
        return any(known[: len(path)] == path for shape in self._shapes for known in shape.groups)

    def repeated(self, pattern: Sequence[int | None]) -> Iterator[list[bytes]]:
        """Yield for each frame the values of all paths that match; None in the pattern matches any item index."""
        groups = {
            id(shape): [group for known, group in shape.groups.items() if _matches(known, pattern)]
            for shape in self._shapes
        }
        for shape, values in self._rows:
            yield [values[group] for group in groups[id(shape)]]

    def below(self, tag: int) -> list[tuple[int, tuple[bytes, ...]] | None]:
        """Return for each frame something that is equal for frames whose functional group ``tag`` is; None without."""
        numbers: dict[tuple[Path, ...], int] = {}
        known: dict[int, tuple[int, list[int]]] = {}
        for shape in self._shapes:
            paths = tuple(path for path in shape.groups if path[0] == tag)
            known[id(shape)] = (numbers.setdefault(paths, len(numbers)), [shape.groups[path] for path in paths])
        found: list[tuple[int, tuple[bytes, ...]] | None] = []
        for shape, values in self._rows:
            number, groups = known[id(shape)]
            found.append((number, tuple([values[group] for group in groups])) if groups else None)
        return found

    def values_of(self, tag: int) -> Iterator[bytes]:
        """Yield every value of an element, wherever it stands, frame by frame."""
        groups = {id(shape): [g for known, g in shape.groups.items() if known[-1] == tag] for shape in self._shapes}
        for shape, values in self._rows:
            for group in groups[id(shape)]:
                yield values[group]


def _matches(path: Path, pattern: Sequence[int | None]) -> bool:
    return len(path) == len(pattern) and all(
        wanted is None or got == wanted for got, wanted in zip(path, pattern, strict=True)
    )


def read_frame_table(buffer: Buffer, start: int, stop: int, implicit_vr: bool) -> FrameTable:
    """Read the value of a Per-frame Functional Groups Sequence that lies at ``start:stop``.

    Raises
    ------
    TruncatedError
        An item contradicts its own lengths.
    """
    table = FrameTable()
    by_length: dict[int, list[_Shape]] = {}
    for item_start, item_stop in items(buffer, start, stop, implicit_vr):
        content = buffer[item_start:item_stop]
        shapes = by_length.setdefault(len(content), [])
        for shape in shapes[-_SHAPES_TRIED:]:
            match = shape.pattern.fullmatch(content)
            if match is not None:
                break
        else:
            shape = _shape_of(content, implicit_vr)
            shapes.append(shape)
            table._shapes.append(shape)
            match = shape.pattern.fullmatch(content)
            if match is None:  # the pattern was made from this content
                raise TruncatedError(f"the item at offset {item_start} cannot be read")
        table._rows.append((shape, match.groups()))
    return table


def _shape_of(content: bytes, implicit_vr: bool) -> _Shape:
    leaves: list[tuple[int, int, Path]] = []
    _collect(content, 0, len(content), implicit_vr, (), leaves, 0)
    pattern = bytearray(b"(?s)")
    groups: dict[Path, int] = {}
    position = 0
    for number, (start, stop, path) in enumerate(leaves):
        pattern += re.escape(content[position:start])
        pattern += b"(.{%d})" % (stop - start)
        groups[path] = number
        position = stop
    pattern += re.escape(content[position:])
    return _Shape(re.compile(bytes(pattern)), groups)


def _collect(
    content: bytes,
    start: int,
    stop: int,
    implicit_vr: bool,
    path: Path,
    leaves: list[tuple[int, int, Path]],
    depth: int,
) -> None:
    """Append ``(start, stop, path)`` of every value that is not a sequence."""
    if depth > MAXIMUM_DEPTH:
        raise TruncatedError(f"sequences nested deeper than {MAXIMUM_DEPTH}")
    for element in elements(content, start, stop, implicit_vr, depth):
        here = (*path, element.tag)
        if element.undefined_length or element.vr == b"SQ" or (implicit_vr and _is_sequence(element.tag)):
            # UN of undefined length holds implicit VR (PS3.5 6.2.2).
            inner = implicit_vr or element.vr == b"UN"
            for number, (item_start, item_stop) in enumerate(items(content, element.start, element.stop, inner, depth)):
                _collect(content, item_start, item_stop, inner, (*here, number), leaves, depth + 1)
        else:
            leaves.append((element.start, element.stop, here))


def _is_sequence(tag: int) -> bool:
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False
