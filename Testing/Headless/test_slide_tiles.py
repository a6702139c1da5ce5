"""Tiles of slides: every codec, every order, every offset table; pixels are known, or are those of the peers."""

from __future__ import annotations

import resource
import struct
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)
from support import slides

from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.slide import decoding
from dicombridge.slide.levels import read_levels
from dicombridge.slide.tiles import Box, OpenLevel

LEVEL = slides.Level()
ROUNDING = 3
"""By which the colours of a JPEG may differ between pydicom and the JPEG library."""


def pixels_of(files: Sequence[Path], box: Box | None = None, path: int = 0, plane: int = 0) -> NDArray[Any]:
    """Read a rectangle of the only level of files."""
    levels, errors = read_levels([str(file) for file in files])
    assert not errors
    (level,) = levels
    box = box or Box(0, 0, level.matrix.rows, level.matrix.columns)
    with OpenLevel(level) as opened:
        shape = (box.rows, box.columns, 3) if opened.samples == 3 else (box.rows, box.columns)
        target = np.full(shape, 77, opened.dtype)
        opened.read(box, plane, path, target)
    return target


def warnings_of(files: Sequence[Path]) -> str:
    (level,), _ = read_levels([str(file) for file in files])
    with OpenLevel(level) as opened:
        return " ".join(opened.tiling.warnings)


def decoded(file: Path) -> NDArray[Any]:
    """Return all of TILED_FULL as pydicom decodes the frames, laid out here."""
    dataset = pydicom.dcmread(file)
    down, across = (-(-int(dataset[f"TotalPixelMatrix{name}"].value) // int(dataset[name].value))
                    for name in ("Rows", "Columns"))  # fmt: skip
    frames = dataset.pixel_array.reshape(down, across, dataset.Rows, dataset.Columns, -1)
    whole = frames.transpose(0, 2, 1, 3, 4).reshape(down * dataset.Rows, across * dataset.Columns, -1)
    return whole[: dataset.TotalPixelMatrixRows, : dataset.TotalPixelMatrixColumns]


# --- Codecs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("syntax", [*slides.LOSSLESS, ImplicitVRLittleEndian])
def test_lossless_pixels_are_exact(syntax: str, sparse: bool, tmp_path: Path) -> None:
    level = replace(LEVEL, syntax=syntax, sparse=sparse)
    files = slides.write_level(tmp_path / "a.dcm", level)
    np.testing.assert_array_equal(pixels_of(files), level.pixels())


@pytest.mark.parametrize("syntax", [*slides.LOSSLESS, ImplicitVRLittleEndian])
@pytest.mark.parametrize("bits", [8, 16])
def test_one_channel(syntax: str, bits: int, tmp_path: Path) -> None:
    level = replace(LEVEL, syntax=syntax, samples=1, bits=bits)
    found = pixels_of(slides.write_level(tmp_path / "a.dcm", level))
    assert found.dtype == level.dtype
    np.testing.assert_array_equal(found, level.pixels())


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000])
def test_lossy_pixels_are_those_of_pydicom(syntax: str, tmp_path: Path) -> None:
    (file,) = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, syntax=syntax))
    found = pixels_of([file])
    # pydicom turns YBR into RGB in whole numbers, the JPEG library in finer ones.
    assert np.abs(found.astype(int) - decoded(file)).max() <= ROUNDING
    # The colours are right, not only alike: YBR that was taken for RGB would be far away.
    assert np.abs(found.astype(int) - LEVEL.pixels()).mean() < 16


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2K, HTJ2KLosslessRPCL])
def test_htj2k(syntax: str, tmp_path: Path) -> None:
    level = slides.Level(rows=32, columns=32, tile=(16, 16))
    dataset = slides.dataset_of(slides.Series())
    slides.describe_pixels(dataset, replace(level, syntax=syntax))
    slides.describe_slide(dataset, level)
    slides.set_frames(dataset, replace(level, syntax=syntax), [slides.HTJ2K_TILE] * 4)
    tile = slides.pattern(16, 16, 3, np.uint8)
    found = pixels_of([slides.save(dataset, tmp_path / "a.dcm")])
    np.testing.assert_array_equal(found, np.tile(tile, (2, 2, 1)))


def test_planar_colours(tmp_path: Path) -> None:
    files = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, planar=1))
    np.testing.assert_array_equal(pixels_of(files), LEVEL.pixels())


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_uncompressed_ybr(photometric: str, tmp_path: Path) -> None:
    """What is not compressed but stored as YBR comes as RGB; of 4:2:2, two pixels share their colour."""
    from pydicom.pixels import convert_color_space

    level = replace(LEVEL, photometric=photometric)
    tiles = [convert_color_space(tile[4], "RGB", "YBR_FULL") for tile in slides.tiles_of(LEVEL)]
    if photometric == "YBR_FULL_422":
        pairs = [tile.reshape(-1, 2, 3) for tile in tiles]
        stored = [np.hstack([pair[:, 0, :1], pair[:, 1, :1], pair[:, 0, 1:]]) for pair in pairs]
        tiles = [np.ascontiguousarray(one) for one in stored]
    dataset = slides.dataset_of(slides.Series())
    slides.describe_pixels(dataset, level)
    slides.describe_slide(dataset, level)
    slides.set_frames(dataset, level, [tile.tobytes() for tile in tiles])
    found = pixels_of([slides.save(dataset, tmp_path / "a.dcm")])
    assert np.abs(found.astype(int) - LEVEL.pixels()).max() <= (2 if photometric == "YBR_FULL" else 12)


def test_jpeg_without_colour_transform(tmp_path: Path) -> None:
    """A JPEG that says nothing of its colours is RGB where the header says RGB, and YBR elsewhere."""
    (file,) = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, syntax=JPEGBaseline8Bit))
    ybr = pixels_of([file])
    dataset = pydicom.dcmread(file)
    dataset.PhotometricInterpretation = "RGB"
    slides.save(dataset, file)
    assert np.abs(pixels_of([file]).astype(int) - ybr).mean() > 30


def test_palette(tmp_path: Path) -> None:
    level = replace(LEVEL, samples=1, photometric="PALETTE COLOR")
    (file,) = slides.write_level(tmp_path / "a.dcm", level)
    dataset = pydicom.dcmread(file)
    tables = {}
    for number, colour in enumerate(("Red", "Green", "Blue")):
        table = (np.arange(256, dtype=np.uint16) * (number + 1)) % 256
        tables[colour] = table
        dataset.add_new(0x00281101 + number, "US", [256, 0, 16])  # descriptor
        dataset.add_new(0x00281201 + number, "OW", (table << 8).astype("<u2").tobytes())
    slides.save(dataset, file)
    expected = np.stack([tables[colour][level.pixels()] for colour in ("Red", "Green", "Blue")], axis=-1)
    np.testing.assert_array_equal(pixels_of([file]), expected)


def test_a_codec_without_decoder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom.pixels

    class Absent:
        is_available = False
        missing_dependencies = ("somewhere",)

    files = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, syntax=JPEG2000Lossless))
    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda _: Absent())
    with pytest.raises(UnsupportedError, match=r"a\.dcm.*codecs"):
        pixels_of(files)


# --- Regions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "box", [Box(0, 0, 1, 1), Box(16, 32, 16, 32), Box(15, 31, 2, 2), Box(69, 99, 1, 1), Box(7, 3, 50, 90)]
)
def test_regions(box: Box, sparse: bool, tmp_path: Path) -> None:
    files = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, sparse=sparse))
    expected = LEVEL.pixels()[box.row : box.row + box.rows, box.column : box.column + box.columns]
    np.testing.assert_array_equal(pixels_of(files, box), expected)


def test_only_needed_tiles_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = slides.write_level(tmp_path / "a.dcm", LEVEL)
    numbers = []
    decode = decoding.FrameDecoder.decode
    monkeypatch.setattr(
        decoding.FrameDecoder, "decode", lambda self, *given: numbers.append(given[1]) or decode(self, *given)
    )
    pixels_of(files, Box(20, 40, 10, 30))
    assert numbers == [6, 7]  # of a grid of 5 x 4, from 1


def test_memory_is_that_of_a_frame(tmp_path: Path) -> None:
    """Beside the array that is filled, nothing grows with it."""
    size = 2048
    level = replace(LEVEL, rows=size, columns=size, tile=(256, 256), syntax=JPEGBaseline8Bit)
    (file,) = slides.write_level(tmp_path / "a.dcm", level)
    (one,), _ = read_levels([str(file)])
    target = np.zeros((size, size, 3), np.uint8)
    tracemalloc.start()
    try:
        with OpenLevel(one) as opened:
            opened.read(Box(0, 0, size, size), 0, 0, target)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


# --- Order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_paths_and_planes(sparse: bool, tmp_path: Path) -> None:
    level = replace(LEVEL, samples=1, paths=(("a", "DAPI"), ("b", "Cy5")), planes=(0.0, 1.5, 3.0), sparse=sparse)
    files = slides.write_level(tmp_path / "a.dcm", level)
    for path in range(2):
        for plane in range(3):
            np.testing.assert_array_equal(pixels_of(files, path=path, plane=plane), level.pixels(path, plane))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("parts", [2, 3])
def test_concatenations(parts: int, sparse: bool, tmp_path: Path) -> None:
    files = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, sparse=sparse), parts=parts)
    assert len(files) == parts
    np.testing.assert_array_equal(pixels_of(files[::-1]), LEVEL.pixels())


def test_a_missing_part_of_a_concatenation_is_empty(tmp_path: Path) -> None:
    files = slides.write_level(tmp_path / "a.dcm", LEVEL, parts=2)
    found = pixels_of(files[1:])
    assert "10 of 20 tiles are missing" in warnings_of(files[1:])
    np.testing.assert_array_equal(found[48:], LEVEL.pixels()[48:])
    assert (found[:32] == 255).all()


@pytest.mark.parametrize(("samples", "background"), [(3, 255), (1, 0)])
def test_missing_tiles_are_background(samples: int, background: int, tmp_path: Path) -> None:
    level = replace(LEVEL, samples=samples, sparse=True, omitted=(0, 5, 19))
    found = pixels_of(slides.write_level(tmp_path / "a.dcm", level))
    expected = level.pixels()
    for row, column in ((0, 0), (16, 32), (64, 96)):
        expected[row : row + 16, column : column + 32] = background
    np.testing.assert_array_equal(found, expected)


def test_too_few_and_too_many_frames(tmp_path: Path) -> None:
    few = slides.write_level(tmp_path / "few.dcm", replace(LEVEL, omitted=(18, 19)))
    assert "2 of 20 tiles are missing" in warnings_of(few)
    found, expected = pixels_of(few), LEVEL.pixels()
    expected[64:, 64:] = 255
    np.testing.assert_array_equal(found, expected)
    (file,) = slides.write_level(tmp_path / "many.dcm", LEVEL)
    dataset = pydicom.dcmread(file)
    dataset.TotalPixelMatrixRows = 60
    slides.save(dataset, file)
    assert "4 frames are more than there are tiles" in warnings_of([file])
    np.testing.assert_array_equal(pixels_of([file]), LEVEL.pixels()[:60])


def test_tiles_that_say_nothing_are_taken_in_order(tmp_path: Path) -> None:
    (file,) = slides.write_level(tmp_path / "a.dcm", LEVEL)
    dataset = pydicom.dcmread(file)
    del dataset.DimensionOrganizationType
    slides.save(dataset, file)
    assert "row by row" in warnings_of([file])
    np.testing.assert_array_equal(pixels_of([file]), LEVEL.pixels())
    dataset.NumberOfFrames = 19
    slides.save(dataset, file)
    with pytest.raises(UnreadableError, match="19 tiles"):
        pixels_of([file])


def test_tiles_off_the_grid(tmp_path: Path) -> None:
    """Sparse tiles may lie anywhere, also partly outside; those wholly outside are left out."""
    (file,) = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, sparse=True))
    dataset = pydicom.dcmread(file)
    groups = dataset.PerFrameFunctionalGroupsSequence
    for number, (row, column) in {0: (-3, -4), 19: (1000, 1)}.items():
        groups[number].PlanePositionSlideSequence[0].RowPositionInTotalImagePixelMatrix = row
        groups[number].PlanePositionSlideSequence[0].ColumnPositionInTotalImagePixelMatrix = column
    slides.save(dataset, file)
    assert "1 tiles lie beyond" in warnings_of([file])
    found = pixels_of([file])
    np.testing.assert_array_equal(found[:12, :27], LEVEL.pixels()[4:16, 5:32])
    assert (found[12:16, :27] == 255).all()


# --- Offset tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "fragments"), [("basic", 1), ("basic", 3), ("empty", 1), ("empty", 3), ("extended", 1)]
)
def test_offset_tables_and_fragments(table: str, fragments: int, tmp_path: Path) -> None:
    """With an extended offset table a frame has one fragment (PS3.3 C.7.6.3.1.8)."""
    level = replace(LEVEL, syntax=JPEGBaseline8Bit, table=table, fragments=fragments)
    one = slides.write_level(tmp_path / "one.dcm", replace(LEVEL, syntax=JPEGBaseline8Bit))
    many = slides.write_level(tmp_path / "many.dcm", level)
    np.testing.assert_array_equal(pixels_of(many), pixels_of(one))


@pytest.mark.parametrize("lie", [lambda n: 0, lambda n: n * 7, lambda n: 2**32 - 1 - n])
@pytest.mark.parametrize("fragments", [1, 2])
def test_lying_offset_tables(lie: Any, fragments: int, tmp_path: Path) -> None:
    level = replace(LEVEL, syntax=JPEGBaseline8Bit, fragments=fragments)
    (file,) = slides.write_level(tmp_path / "a.dcm", level)
    expected = pixels_of([file])
    content = bytearray(file.read_bytes())
    begin = content.rindex(b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0") + 20
    for number in range(20):
        content[begin + 4 * number : begin + 4 * number + 4] = struct.pack("<L", lie(number))
    file.write_bytes(content)
    np.testing.assert_array_equal(pixels_of([file]), expected)


def begin_of_items(content: bytes) -> int:
    """Return where the items of compressed pixels begin."""
    return content.rindex(b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff") + 12


@pytest.mark.parametrize("fragments", [1, 2])
@pytest.mark.parametrize("table", ["basic", "extended", "empty"])
def test_a_table_spares_the_items_of_other_tiles(table: str, fragments: int, tmp_path: Path) -> None:
    """Of a slide of gigabytes a region would read them all. So what is damaged elsewhere does no harm."""
    if table == "extended":
        fragments = 1  # PS3.3 C.7.6.3.1.8
    level = replace(LEVEL, syntax=JPEGBaseline8Bit, table=table, fragments=fragments)
    (file,) = slides.write_level(tmp_path / "a.dcm", level)
    top, bottom = Box(0, 0, 16, 100), Box(64, 0, 6, 100)
    expected = [pixels_of([file], box) for box in (top, bottom)]
    content = bytearray(file.read_bytes())
    place = begin_of_items(content)
    for _ in range(1 + 10 * fragments):
        place += 8 + struct.unpack_from("<L", content, place + 4)[0]
    content[place : place + 4] = b"\0\0\0\0"  # the item of the 11th tile
    file.write_bytes(content)
    if table == "empty":
        with pytest.raises(UnreadableError, match=r"a\.dcm.*damaged or cut short"):
            pixels_of([file], top)
        return
    for box, pixels in zip((top, bottom), expected, strict=True):
        np.testing.assert_array_equal(pixels_of([file], box), pixels)
    with pytest.raises(UnreadableError, match=r"a\.dcm.*damaged or cut short"):
        pixels_of([file])


@pytest.mark.parametrize("cut", [1, 8, 9, 300])
@pytest.mark.parametrize("table", ["basic", "extended", "empty"])
def test_files_that_are_cut_short(table: str, cut: int, tmp_path: Path) -> None:
    """Also where only the delimiter is missing, and where the tiles that are wanted are there."""
    (file,) = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, syntax=JPEGBaseline8Bit, table=table))
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(UnreadableError, match=r"a\.dcm.*cut short"):
        pixels_of([file], Box(0, 0, 16, 100))


def test_fragments_that_nothing_assigns(tmp_path: Path) -> None:
    level = replace(LEVEL, syntax=slides.RLELossless, table="empty", fragments=2)
    (file,) = slides.write_level(tmp_path / "a.dcm", level)
    with pytest.raises(UnreadableError, match=r"a\.dcm.*fragments"):
        pixels_of([file])


# --- Damage --------------------------------------------------------------------------------------------------------


def test_a_damaged_tile_names_the_file(tmp_path: Path) -> None:
    """Only the regions that need it fail."""
    level = replace(LEVEL, syntax=JPEGBaseline8Bit)
    frames = [slides.stored(tile[4], level) for tile in slides.tiles_of(level)]
    frames[7] = frames[7][: len(frames[7]) // 2 & ~1]
    dataset = slides.dataset_of(slides.Series())
    slides.describe_pixels(dataset, level)
    slides.describe_slide(dataset, level)
    slides.set_frames(dataset, level, frames)
    file = slides.save(dataset, tmp_path / "a.dcm")
    with pytest.raises(UnreadableError, match=r"a\.dcm: frame 8 cannot be decoded"):
        pixels_of([file])
    assert pixels_of([file], Box(0, 0, 16, 100)).any()


def test_tiles_of_another_size(tmp_path: Path) -> None:
    (file,) = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, syntax=JPEGBaseline8Bit))
    dataset = pydicom.dcmread(file)
    dataset.Rows = dataset.Columns = 64
    dataset.NumberOfFrames = 20
    slides.save(dataset, file)
    with pytest.raises(UnreadableError, match=r"a\.dcm.*pixels"):
        pixels_of([file])


def lying_frame(syntax: str) -> bytes:
    """A tile of a few hundred bytes that says of itself that it has 40000 x 40000 pixels."""
    frame = bytearray(slides.HTJ2K_TILE)
    if syntax == HTJ2KLossless:
        sizes, kind, places = b"\xff\x51", ">L", (6, 10, 22, 26)  # of the image, and of the parts that it is coded in
    else:
        frame = bytearray(slides.stored(next(slides.tiles_of(LEVEL))[4], replace(LEVEL, syntax=syntax)))
        sizes, kind, places = b"\xff\xf7" if syntax == JPEGLSLossless else b"\xff\xc0", ">H", (5, 7)
        if syntax == JPEG2000Lossless:
            sizes, kind, places = b"\xff\x51", ">L", (6, 10, 22, 26)
    begin = frame.index(sizes)
    for place in places:
        struct.pack_into(kind, frame, begin + place, 40000)
    return bytes(frame)


@pytest.mark.parametrize("truth", [False, True])
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless])
def test_tiles_that_claim_gigabytes_take_no_memory(syntax: str, truth: bool, tmp_path: Path) -> None:
    """Decoders believe what a codestream says of its size, 5 GB here; the header may say the same."""
    level = replace(LEVEL, rows=16, columns=32, syntax=syntax)
    dataset = slides.dataset_of(slides.Series())
    slides.describe_pixels(dataset, level)
    slides.describe_slide(dataset, level)
    slides.set_frames(dataset, level, [lying_frame(syntax)])
    if truth:
        for keyword in ("Rows", "Columns", "TotalPixelMatrixRows", "TotalPixelMatrixColumns"):
            setattr(dataset, keyword, 40000)
    file = slides.save(dataset, tmp_path / "a.dcm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error, message = (UnsupportedError, "512 MB") if truth else (UnreadableError, "40000|exceeds limit")
    with pytest.raises(error, match=message):
        pixels_of([file], Box(0, 0, 8, 8))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KB


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PhotometricInterpretation": "CMYK"}, "CMYK"),
        ({"PhotometricInterpretation": "MONOCHROME2"}, "samples per pixel"),
        ({"BitsStored": 12}, "bits stored"),
        ({"NumberOfFrames": 21}, "frames need"),
        ({"NumberOfFrames": 2**31 - 1}, "frames need"),
    ],
)
def test_contradictions(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    (file,) = slides.write_level(tmp_path / "a.dcm", LEVEL)
    dataset = pydicom.dcmread(file)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    slides.save(dataset, file)
    with pytest.raises((UnreadableError, UnsupportedError), match=message):
        pixels_of([file])
