"""Fixtures that every headless test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the indexes of databases out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the shared DICOM test data, which is read in place and never changed."""
    folder = Path(os.environ.get("DICOMBRIDGE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test data: {folder} is not a folder (set DICOMBRIDGE_TEST_DATA)")
    return folder


@pytest.fixture
def scene() -> Any:
    """Return an empty scene, as the library makes it outside Slicer."""
    import dicombridge

    return dicombridge.new_scene()
