"""Folders of slides, as the tests of slides open and load them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dicombridge
from support import slides

LEVEL = slides.Level(rows=280, columns=400, tile=(64, 64))


@contextmanager
def opened(folder: Path) -> Iterator[Any]:
    """A folder as a database."""
    database = dicombridge.open_folder(folder)
    try:
        yield database
    finally:
        database.close()


def examined(folder: Path) -> list[Any]:
    """What is offered for a folder."""
    with opened(folder) as database:
        return dicombridge.examine(database)


def load(folder: Path, scene: Any, **options: Any) -> list[Any]:
    """Load a folder or a file into a scene."""
    return dicombridge.load(folder, scene=scene, **options)
