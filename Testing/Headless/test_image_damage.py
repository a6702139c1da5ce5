"""Images: damaged and unsupported files give our errors and leave the scene alone."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from image_support import load, random_pixels, write_slice
from pydicom.uid import JPEGBaseline8Bit, generate_uid
from support.volumes import array_of

import dicombridge
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.image.series import read_series

# --- Damage --------------------------------------------------------------------------------------------------------


def assert_fails_cleanly(files: Sequence[str], scene: Any, error: type[Exception], words: str) -> None:
    before = scene.GetNumberOfNodes()
    with pytest.raises(error, match=words):
        load(files, scene)
    assert scene.GetNumberOfNodes() == before


def truncated(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999])
def test_truncated_file(tmp_path: Path, scene: Any, share: float) -> None:
    files = [write_slice(tmp_path, number, (0, 0, number)) for number in (1, 2, 3)]
    load(files, scene)
    Path(files[1]).write_bytes(truncated(share)(Path(files[1]).read_bytes()))
    before = scene.GetNumberOfNodes()
    with pytest.raises(dicombridge.DicomBridgeError, match=r"0002\.dcm"):
        load(files, scene)
    assert scene.GetNumberOfNodes() == before


def test_flipped_bytes_give_our_errors_or_a_volume(data: Path, scene: Any, tmp_path: Path) -> None:
    source = data / "seg/dcmqi_23x38x3/legacy_converted_enhanced_ct.dcm"
    content = source.read_bytes()
    generator = random.Random(6)
    outcomes, loaded = set(), 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(8):
            damaged[generator.randrange(132, len(damaged))] = generator.randrange(256)
        path = tmp_path / "damaged.dcm"
        path.write_bytes(damaged)
        try:
            loaded += len(load([str(path)], scene))
            outcomes.add("loaded")
        except dicombridge.DicomBridgeError as error:
            outcomes.add(type(error).__name__ if "damaged.dcm" in str(error) else f"{error!r} names no file")
    assert scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == loaded
    assert (
        {"loaded", "UnreadableError"} <= outcomes <= {"loaded", "UnreadableError", "UnsupportedError", "GeometryError"}
    )


def test_absurd_sizes_ask_for_no_memory(tmp_path: Path, scene: Any) -> None:
    files = [write_slice(tmp_path, n, (0, 0, n), Rows=65535, Columns=65535) for n in range(200)]
    assert_fails_cleanly(files, scene, UnreadableError, "damaged pixel data")


def test_contradicting_frames(data: Path, tmp_path: Path, scene: Any) -> None:
    dataset = pydicom.dcmread(data / "seg/dcmqi_23x38x3/legacy_converted_enhanced_ct.dcm")
    dataset.NumberOfFrames = 1_000_000
    path = tmp_path / "frames.dcm"
    dataset.save_as(path)
    assert_fails_cleanly([str(path)], scene, UnreadableError, "1000000 frames, but describes 3")


def test_not_dicom(tmp_path: Path, scene: Any) -> None:
    path = tmp_path / "note.txt"
    path.write_text("just a note, long enough to be taken for something else" * 9)
    assert_fails_cleanly([str(path)], scene, UnreadableError, r"note\.txt")
    assert_fails_cleanly([str(tmp_path / "absent.dcm")], scene, UnreadableError, r"absent\.dcm: cannot be read")


def test_colour_is_declined(tmp_path: Path, scene: Any) -> None:
    rgb = np.zeros((4, 5, 3), np.uint8)
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=rgb, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    assert_fails_cleanly([file], scene, UnsupportedError, "colour images")


def test_single_frame_class_with_several_frames_is_declined(tmp_path: Path, scene: Any) -> None:
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=np.zeros((4, 5), np.int16), NumberOfFrames=2)
    assert_fails_cleanly([file], scene, UnsupportedError, "several frames")


def test_a_file_that_was_exchanged_after_the_headers_were_read(tmp_path: Path) -> None:
    files = [write_slice(tmp_path, number, (0, 0, number)) for number in (1, 2, 3)]
    (series,) = read_series(files)
    shutil.copy(files[0], files[2])
    with pytest.raises(UnreadableError, match="another image than before"):
        series.voxels()


def test_wrong_compressed_data(tmp_path: Path, scene: Any) -> None:
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=np.zeros((4, 5), np.uint8))
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8not a JPEG\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.SOPInstanceUID = generate_uid()
    dataset.save_as(file, implicit_vr=False, little_endian=True)
    before = scene.GetNumberOfNodes()
    with pytest.raises((UnreadableError, UnsupportedError), match=r"0001\.dcm"):
        load([file], scene)
    assert scene.GetNumberOfNodes() == before


@pytest.mark.parametrize("big_endian", [True, False])
def test_no_preamble_and_big_endian(tmp_path: Path, scene: Any, big_endian: bool) -> None:
    pixels = random_pixels(np.int16, -300, 300)
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=pixels)
    dataset = pydicom.dcmread(file)
    if big_endian:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        dataset.PixelData = pixels.astype(">i2").tobytes()
        pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    else:
        raw = Path(file).read_bytes()
        length = struct.unpack_from("<I", raw, 140)[0]
        Path(file).write_bytes(raw[144 + length :])
    (node,) = load([file], scene)
    np.testing.assert_array_equal(array_of(node)[0], pixels)
