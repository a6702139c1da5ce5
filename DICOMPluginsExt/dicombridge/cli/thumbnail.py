"""``dicombridge thumbnail SERVER STUDY/SERIES -o FILE``: a small picture, without retrieving the series."""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dicombridge.cli import network
from dicombridge.errors import DicomBridgeError

if TYPE_CHECKING:
    from dicombridge.web.catalogue import Thumbnail

HELP = "Write a small picture of a series or an instance of a server."

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".gif": "GIF"}
WIDEST = {"JPEG": 65_500, "WEBP": 16_383}
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    network.add_server_arguments(parser)
    parser.add_argument("what", metavar="STUDY/SERIES[/INSTANCE]", help="UIDs with slashes between them")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the picture: .png, .jpg, .webp or .gif")
    parser.add_argument("--size", type=network.whole(16), default=128, metavar="N", help="most pixels of a side (128)")
    parser.add_argument(
        "--frames",
        type=network.whole(1),
        default=1,
        metavar="N",
        help="so many pictures, side by side; one after the other in .gif",
    )
    parser.add_argument("--json", action="store_true", help="print what the picture shows as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Ask for pictures and write one file."""
    from dicombridge import web

    target = Path(arguments.output)
    if target.suffix.lower() not in SUFFIXES:
        raise DicomBridgeError(f"{target}: the name of a picture ends with {', '.join(SUFFIXES)}.")
    server = network.find_server(arguments)
    place = network.place_of(arguments.what, 2)
    assert place.series
    series = place.series
    with network.interruptible() as cancel:
        pictures = network.with_secrets(
            server,
            lambda: web.thumbnails(
                server,
                place.study,
                series,
                place.instance,
                frames=arguments.frames,
                size=arguments.size,
                cancel=cancel,
            ),
        )
    if not pictures:
        raise DicomBridgeError(f"{server}: there is nothing in {arguments.what} that a picture could show.")
    _write(target, _picture(pictures, SUFFIXES[target.suffix.lower()]))
    shown = [{"instance": one.instance, "frame": one.frame} for one in pictures]
    if arguments.json:
        print(json.dumps({"file": str(target), "frames": shown}, indent=2))
    else:
        print(target)


def _picture(pictures: Sequence[Thumbnail], form: str) -> bytes:
    """Return one file of all pictures; a single one as it came where it has the form already."""
    if len(pictures) == 1 and pictures[0].media_type == MEDIA_TYPES.get(form):
        return pictures[0].data
    from PIL import Image

    try:
        images = [Image.open(io.BytesIO(one.data)).convert("RGB") for one in pictures]
    except OSError as error:
        raise DicomBridgeError(f"The server's picture cannot be read: {error}.") from error
    target = io.BytesIO()
    if form == "GIF":
        images[0].save(target, form, save_all=True, append_images=images[1:], duration=100, loop=0)
        return target.getvalue()
    width = sum(image.width for image in images)
    if width > WIDEST.get(form, width):
        raise DicomBridgeError(
            f"{len(images)} pictures are {width} pixels wide, too much for {form}: take fewer frames."
        )
    strip = Image.new("RGB", (width, max(image.height for image in images)))
    left = 0
    for image in images:
        strip.paste(image, (left, (strip.height - image.height) // 2))
        left += image.width
    strip.save(target, form)
    return target.getvalue()


def _write(target: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".dicombridge-", dir=target.parent) as folder:
        temporary = Path(folder) / target.name
        temporary.write_bytes(data)
        temporary.replace(target)
