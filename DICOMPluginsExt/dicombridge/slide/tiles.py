"""Reading a rectangle of a level: only the tiles that it needs, one at a time, straight into an array of the caller."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicombridge.attribute_values import number_of
from dicombridge.errors import UnreadableError
from dicombridge.multiframe import open_multiframe
from dicombridge.slide.decoding import FrameDecoder
from dicombridge.slide.frames import FrameBytes
from dicombridge.slide.levels import Level
from dicombridge.slide.tiling import Tiling, tiling_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Box", "OpenLevel"]

BRIGHT_FIELD, FLUORESCENCE = 255, 0
"""What stands where there is no tile: the white of the lamp in RGB, no light in one channel."""


@dataclass(frozen=True)
class Box:
    """A rectangle of the total pixel matrix: its first row and column (from 0), and its size."""

    row: int
    column: int
    rows: int
    columns: int


class OpenLevel(AbstractContextManager["OpenLevel"]):
    """A level whose files are open.

    Attributes
    ----------
    tiling
        Which frame is which tile.
    samples, dtype
        Of a pixel: 1, or 3 for RGB.

    Raises
    ------
    UnreadableError, UnsupportedError
        A file is damaged or cannot be decoded.
    """

    def __init__(self, level: Level) -> None:
        self._level = level
        self._stack = ExitStack()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        decoders, frames, tables = [], [], []
        for file in self._level.files:
            opened = self._stack.enter_context(open_multiframe(file, pixels=False, until_pixels=True))
            decoder = FrameDecoder(file, opened.transfer_syntax_uid, opened.header)
            frames.append(
                self._stack.enter_context(FrameBytes(opened, _count(file, opened.header), decoder.frame_size))
            )
            decoders.append(decoder)
            tables.append(opened.table)
        first = decoders[0]
        for file, other in zip(self._level.files, decoders, strict=True):
            kind = (other.rows, other.columns, other.samples, other.dtype)
            if kind != (first.rows, first.columns, first.samples, first.dtype):
                raise UnreadableError(file, "has other tiles than the other parts of its concatenation.")
        self._decoders, self._frames = decoders, frames
        self.samples, self.dtype = first.samples, first.dtype
        self.tiling: Tiling = tiling_of(self._level, [one.count for one in frames], tables)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def background(self) -> int:
        """Value where there is no tile."""
        return BRIGHT_FIELD if self.samples == 3 else FLUORESCENCE

    def read(
        self,
        box: Box,
        plane: int,
        path: int,
        target: NDArray[Any],
        tell: Callable[[float], object] | None = None,
    ) -> int:
        """Read a rectangle of one focal plane and optical path.

        Parameters
        ----------
        box
            Within the total pixel matrix.
        plane, path
            Indices of :attr:`tiling`.
        target
            (rows, columns) or (rows, columns, 3) of :attr:`dtype`; all of it is written.
        tell
            Called with the fraction that is done.

        Returns
        -------
        int
            Number of tiles read.
        """
        tile = self._level.matrix.tile_rows, self._level.matrix.tile_columns
        rows, columns = (box.row, box.row + box.rows), (box.column, box.column + box.columns)
        found = self.tiling.within(plane, path, rows, columns, tile)
        if not self.tiling.whole:
            target[...] = self.background
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the decoders remark on a tile that they decode
            for number, index in enumerate(found.tolist()):
                self._place(index, box, target)
                if tell is not None:
                    tell((number + 1) / len(found))
        return len(found)

    def _place(self, index: int, box: Box, target: NDArray[Any]) -> None:
        """Decode one tile and copy what lies within the rectangle."""
        tiling = self.tiling
        file, frame = int(tiling.file[index]), int(tiling.frame[index])
        pixels = self._decoders[file].decode(self._frames[file].read(frame), frame + 1)
        row, column = int(tiling.row[index]) - box.row, int(tiling.column[index]) - box.column
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + pixels.shape[0], box.rows), min(column + pixels.shape[1], box.columns)
        target[top:bottom, left:right] = pixels[top - row : bottom - row, left - column : right - column]


def _count(file: str, header: Any) -> int:
    """Return the number of frames of a file."""
    value = number_of(header, "NumberOfFrames")
    if header.get("NumberOfFrames") is None:
        return 1
    if value is None or not 0 < value < 2**31 or value != int(value):
        raise UnreadableError(file, f"its NumberOfFrames is {header.get('NumberOfFrames')!r}.")
    return int(value)
