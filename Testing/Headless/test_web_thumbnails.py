"""Pictures of series: the server's own, and those made here where it makes none."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from support.folders import sample
from support.scripted_quirks import ROOT, Quirks, instance
from support.scripted_server import Scripted, part10, scripted

from dicombridge import web
from dicombridge.cli.thumbnail import _picture
from dicombridge.errors import DicomBridgeError, UnreadableError
from dicombridge.web.catalogue.pictures import Thumbnail
from dicombridge.web.catalogue.windowing import picture

STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.1.1"


def server(one: Scripted, **profile: Any) -> web.Server:
    return web.Server(one.url, profile=web.Profile(**profile))


def pixels(data: bytes) -> Any:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image)


def series(count: int) -> list[dict[str, Any]]:
    return [instance(1, 1, number, Rows=40, Columns=80) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("quirks", "profile", "asked"),
    [
        (Quirks(thumbnail=True), "thumbnail", {"thumbnail": 1, "rendered": 0}),
        (Quirks(), "rendered", {"thumbnail": 0, "rendered": 1}),
        (Quirks(), "thumbnail", {"thumbnail": 1, "rendered": 1}),
        (Quirks(refuses_lists_of_types=True), "rendered", {"thumbnail": 0, "rendered": 1}),
    ],
)
def test_the_servers_own_pictures(quirks: Quirks, profile: str, asked: dict[str, int]) -> None:
    with scripted(quirks, series(9)) as one:
        (found,) = web.thumbnails(server(one, thumbnails=profile), STUDY, SERIES, size=64)
        assert {way: len(one.asked(f"/{way}")) for way in asked} == asked
        assert {request.value("viewport") for request in one.requests} == {None, "64,64"}
        assert len(one.requests) == 2 + sum(asked.values()), "the whole series is not listed for one picture"
    assert (found.instance, found.frame, found.media_type) == (f"{SERIES}.5", 1, "image/jpeg")
    assert pixels(found.data).shape == (64, 64)


@pytest.mark.parametrize("profile", ["thumbnail", "rendered", "none"])
def test_a_server_that_makes_none(profile: str) -> None:
    with scripted(Quirks(rendered=False), series(3)) as one:
        (found,) = web.thumbnails(server(one, thumbnails=profile), STUDY, SERIES, size=64)
    assert found.media_type == "image/jpeg"
    shown = pixels(found.data)
    assert shown.shape == (32, 64)
    # The ramp of grey values, which has no window: from dark to bright.
    assert shown[0].mean() < 20
    assert shown[-1].mean() > 235


def test_no_failed_way_is_tried_twice() -> None:
    with scripted(Quirks(rendered=False), series(8)) as one:
        found = web.thumbnails(server(one), STUDY, SERIES, frames=4, size=32)
        assert len(one.asked("/rendered")) == 2, "once with a viewport and once without"
    assert [thumbnail.instance for thumbnail in found] == [f"{SERIES}.{number}" for number in (2, 4, 6, 8)]


def test_a_strip_of_frames() -> None:
    many = [instance(1, 1, 1, NumberOfFrames=40)]
    with scripted(instances=many) as one:
        found = web.thumbnails(server(one), STUDY, SERIES, frames=4, size=32)
        assert [thumbnail.frame for thumbnail in found] == [6, 16, 26, 36]
        assert [int(pixels(thumbnail.data)[0, 0]) for thumbnail in found] == [60, 160, 4, 104]
        (middle,) = web.thumbnails(server(one), STUDY, SERIES, f"{SERIES}.1", size=32)
    assert middle.frame == 21
    with scripted(Quirks(rendered=False), many) as one:
        here = web.thumbnails(server(one), STUDY, SERIES, frames=3, size=32)
        fetched = [request for request in one.requests if request.path.endswith(f"/instances/{SERIES}.1")]
        assert len(fetched) == 1, "an instance is fetched once for all its frames"
    assert [thumbnail.frame for thumbnail in here] == [7, 21, 34]


def test_more_pictures_than_frames() -> None:
    with scripted(instances=series(2)) as one:
        assert len(web.thumbnails(server(one), STUDY, SERIES, frames=10)) == 2


def test_large_pictures_are_made_small() -> None:
    """Some servers do not look at the viewport."""
    written = BytesIO()
    Image.new("L", (2000, 1000), 77).save(written, "JPEG")
    with scripted(instances=series(1)) as one:
        path = f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/rendered"
        one.pages[path] = lambda request: (200, "image/jpeg", written.getvalue())
        (found,) = web.thumbnails(server(one), STUDY, SERIES, size=100)
        assert pixels(found.data).shape == (50, 100)
        # What is no picture is not taken for one, whatever its type says.
        one.pages[path] = lambda request: (200, "image/jpeg", b"<html>sign in</html>")
        (found,) = web.thumbnails(server(one), STUDY, SERIES, size=100)
    assert pixels(found.data).shape == (50, 100)
    assert pixels(found.data).std() > 20


def test_a_picture_of_a_server_that_would_fill_the_memory_or_is_broken_is_not_opened() -> None:
    small = BytesIO()
    Image.new("L", (2000, 1000), 77).save(small, "PNG")
    broken = small.getvalue().replace(b"IDAT", b"I\xffAT")
    header = b"IHDR" + struct.pack(">II", 10_000, 10_000) + small.getvalue()[24:29]
    large = small.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + small.getvalue()[33:]
    larger = large.replace(header[:12], b"IHDR" + struct.pack(">II", 20_000, 20_000))
    with scripted(instances=series(1)) as one:
        path = f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/rendered"
        for data in (large, larger, broken):
            one.pages[path] = lambda request, data=data: (200, "image/png", data)
            (found,) = web.thumbnails(server(one), STUDY, SERIES, size=100)
            assert pixels(found.data).shape == (50, 100)
            assert pixels(found.data).std() > 20  # made here


def test_pictures_are_no_larger_than_a_screen_and_strips_no_longer_than_files_can_be(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_bytes(part10(series(3)[number]))
    (found,) = web.thumbnails(web.Server(str(tmp_path)), STUDY, SERIES, size=10**6)
    assert max(pixels(found.data).shape) == 4096
    written = BytesIO()
    Image.new("L", (40_000, 2), 77).save(written, "JPEG")
    long = Thumbnail("1.2", 1, "image/jpeg", written.getvalue())
    for form in ("JPEG", "WEBP"):
        with pytest.raises(DicomBridgeError, match=r"80000 pixels wide.*fewer frames"):
            _picture([long, long], form)
    assert pixels(_picture([long, long], "PNG")).shape == (2, 80_000, 3)


def test_objects_without_pixels_have_no_pictures() -> None:
    report = instance(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", Modality="SR")
    with scripted(instances=[report]) as one:
        assert web.thumbnails(server(one), STUDY, SERIES) == []
        assert one.asked("/rendered") == []
        assert web.thumbnails(server(one), STUDY, "1.2.3.4.5") == []
    with pytest.raises(DicomBridgeError):
        web.thumbnails(web.Server("http://127.0.0.1:9"), "x", SERIES)


def rle_frame(values: Any) -> bytes:
    """A frame of 16 bits as RLE, by pydicom."""
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    dataset.PixelData = values.tobytes()
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


# --- Windows -------------------------------------------------------------------------------------------------------


def shown(path: Any, frame: int = 1, size: int = 64) -> tuple[str, Any]:
    media_type, data = picture(path, frame, size, "x")
    return media_type, pixels(data)


def test_a_window_is_applied_to_signed_values_after_rescaling(tmp_path: Path) -> None:
    """DICOMfileClient cannot show any CT."""
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    hounsfield = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.save_as(tmp_path / "a.dcm")
    media_type, grey = shown(tmp_path / "a.dcm", size=128)
    expected = np.clip((hounsfield + 160) / 400 * 255, 0, 255)
    assert (media_type, grey.shape) == ("image/jpeg", (128, 128))
    assert abs(grey.astype(float) - expected).mean() < 4


@pytest.mark.parametrize("window", [(0, 65536), None])
def test_a_window_in_which_nothing_can_be_told_apart_is_not_applied(tmp_path: Path, window: Any) -> None:
    """As nuclear medicine has them: all that 16 bits hold."""
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    dataset.PixelData = (dataset.pixel_array // 20).astype("<i2").tobytes()
    if window:
        dataset.WindowCenter, dataset.WindowWidth = window
    dataset.save_as(tmp_path / "a.dcm")
    assert shown(tmp_path / "a.dcm")[1].std() > 40


def test_values_outside_of_a_window_stay_black(tmp_path: Path) -> None:
    """Noise of air is not what a person wants to see."""
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    dataset.PixelData = (dataset.pixel_array % 8).astype("<i2").tobytes()
    dataset.WindowCenter, dataset.WindowWidth = 1040, 400
    dataset.save_as(tmp_path / "a.dcm")
    assert not shown(tmp_path / "a.dcm")[1].any()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_a_frame_of_many_is_read_alone(tmp_path: Path, syntax: str) -> None:
    """A slide, or a cine loop, may have gigabytes."""
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    frames = np.repeat(dataset.pixel_array[None] % 256, 800, axis=0).astype("<i2")
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = frames.tobytes()
    if syntax == RLELossless:
        dataset.PixelData = encapsulate([rle_frame(frames[0])] * len(frames))
        dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm")
    size = (tmp_path / "a.dcm").stat().st_size
    expected = shown(tmp_path / "a.dcm", frame=400)[1]
    assert expected.std() > 20
    tracemalloc.start()
    try:
        assert np.array_equal(shown(tmp_path / "a.dcm", frame=800)[1], expected)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 8


def test_inverted_grey_values(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    dataset.save_as(tmp_path / "a.dcm")
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(tmp_path / "b.dcm")
    plain, inverted = shown(tmp_path / "a.dcm")[1], shown(tmp_path / "b.dcm")[1]
    assert abs(plain.astype(float) + inverted - 255).mean() < 3


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    dataset.PixelSpacing = [2, 1]
    dataset.save_as(tmp_path / "a.dcm")
    assert shown(tmp_path / "a.dcm")[1].shape == (64, 32)


@pytest.mark.parametrize(
    ("name", "frame", "kind", "shape"),
    [
        ("seg/dcmqi_liver/liver.dcm", 2, "image/png", (64, 64)),
        ("seg/dcmqi_liver/liver_rle.dcm", 2, "image/png", (64, 64)),
        ("seg/dcmqi_liver/liver_deflate.dcm", 2, "image/png", (64, 64)),
        ("sm/highdicom/sm_image.dcm", 5, "image/jpeg", (64, 64, 3)),
        ("sm/misc/multiframe_camelyon_challenge_image.dcm", 3, "image/jpeg", (64, 64, 3)),
        ("images/enhanced_mr/emri_small.dcm", 10, "image/jpeg", (64, 64)),
    ],
)
def test_real_objects(data: Path, name: str, frame: int, kind: str, shape: tuple[int, ...]) -> None:
    media_type, values = shown(data / name, frame)
    assert (media_type, values.shape) == (kind, shape)
    assert values.std() > 1


def test_most_real_images_can_be_shown(data: Path) -> None:
    """26 of 82 images is what DICOMfileClient renders."""
    failed, count = [], 0
    for path in sorted([*data.glob("images/**/*.dcm"), *data.glob("pm/**/*.dcm"), *data.glob("sm/**/*.dcm")]):
        if path.stat().st_size > 4_000_000:
            continue
        count += 1
        try:
            assert max(shown(path)[1].shape[:2]) == 64
        except UnreadableError as error:
            failed.append(str(error))
    assert count > 40
    assert failed == []


def test_what_has_no_pixels_or_damaged_ones_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no pixels"):
        picture(sample("rtplan.dcm"), 1, 64, "x")
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    dataset.PixelData = dataset.PixelData[:100]
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UnreadableError, match="cannot be shown"):
        picture(tmp_path / "a.dcm", 1, 64, "x")
