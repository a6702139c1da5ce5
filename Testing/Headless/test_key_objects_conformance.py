"""What every kind must do, for key object selections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from support.sr_documents import KEY_OBJECT_SELECTION, content, dcm, document, image_item, save
from support.sr_images import write_multi_frame, write_series
from support.sr_nodes import column_names, column_of
from support.sr_templates import write_other


def write_selection(folder: Path) -> None:
    """Write a selection alone; its images are beside the folder."""
    path, _ = write_other(folder.parent, "key objects")
    path.rename(folder / path.name)


def write_frames(folder: Path) -> None:
    """Write a selection of two frames of an image, one of which is named with what it is for."""
    images = write_multi_frame(folder.parent / "images")
    chosen = [image_item(images, plane, "CONTAINS", concept) for plane, concept in ((1, None), (4, FIRST))]
    text = content("TEXT", dcm("113012", "Key Object Description"), "Zwei Bilder für Änne")
    root = content("CONTAINER", dcm("113000", "Of Interest"), None, text, *chosen, template="2010")
    save(document(root, KEY_OBJECT_SELECTION, images, "KO"), folder / "keys.dcm")


FIRST = dcm("113018", "Best In Set")


class TestKeyObjects(KindConformance):
    kind = "KOS"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("selection", make=write_selection, damages="tfae", flips=60),
        Example("frames", make=write_frames, damages="tf", flips=30, transfer_syntax=ImplicitVRLittleEndian),
        Example("deflated", make=write_frames, damages="tf", flips=15,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("real", "kos/kos_key_object_selection.dcm", damages="tf", flips=30),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        table, text = nodes
        cells = {name: [str(one) for one in column_of(table, name)] for name in column_names(table)}
        # What is written first in a document is its choice of order: rows by themselves are compared.
        return {"rows": sorted(zip(*cells.values(), strict=True)), "text": sorted(text.GetText().splitlines())}

    def write_large(self, folder: Path, size: int) -> None:
        images = write_series(folder / "images")
        chosen = [image_item(images, place % len(images.uids), "CONTAINS") for place in range(size)]
        root = content("CONTAINER", dcm("113000", "Of Interest"), None, *chosen, template="2010")
        save(document(root, KEY_OBJECT_SELECTION, images, "KO"), folder / "keys.dcm")
