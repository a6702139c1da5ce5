"""Fixtures that every headless test may use."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.orthanc import Orthanc, start_orthanc

if TYPE_CHECKING:
    from dicombridge.demo.phantom import PhantomStudy

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the indexes of databases out of the user's own cache; leave the user's servers and keychain alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the shared DICOM test data, which is read in place and never changed."""
    folder = Path(os.environ.get("DICOMBRIDGE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test data: {folder} is not a folder (set DICOMBRIDGE_TEST_DATA)")
    return folder


@pytest.fixture(autouse=True)
def _own_logger() -> None:
    """Undo what the command line does to the library's logger, or the next test would not see its messages.

    Before each test, because a fixture of a module may have used the command line before all that ends.
    """
    logger = logging.getLogger("dicombridge")
    logger.propagate, logger.level, logger.handlers = True, logging.NOTSET, []


@pytest.fixture(scope="session")
def orthanc_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc for all tests of a process; ask for ``orthanc`` to get it empty."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(orthanc_session: Orthanc) -> Orthanc:
    """A running, empty Orthanc with DICOMweb."""
    if orthanc_session.process is None:
        orthanc_session.start()
    orthanc_session.clear()
    return orthanc_session


@pytest.fixture(scope="session")
def locked_orthanc_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc with a user for all tests of a process; ask for ``locked_orthanc`` to get it empty."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc"), {"anna": "s3cret-Pass"}) as server:
        yield server


@pytest.fixture
def locked_orthanc(locked_orthanc_session: Orthanc) -> Orthanc:
    """An empty Orthanc that wants a user (``anna``) and a password (``s3cret-Pass``)."""
    locked_orthanc_session.clear()
    return locked_orthanc_session


@pytest.fixture(scope="session")
def phantom_study(tmp_path_factory: pytest.TempPathFactory) -> PhantomStudy:
    """The phantom of the demo: images and all kinds of objects that refer to them. Not to be changed."""
    from dicombridge.demo import phantom

    return phantom.write_study(tmp_path_factory.mktemp("phantom"))


@pytest.fixture
def scene() -> Any:
    """Return an empty scene, as the library makes it outside Slicer."""
    import dicombridge

    return dicombridge.new_scene()


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the default index out of the user's cache folder."""
    cache = tmp_path_factory.mktemp("cache")
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(cache))
    return cache


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths of files that indexing reads, as they are read."""
    paths: list[str] = []
    from dicombridge.database import folder as folder_database
    from dicombridge.database import header_values

    original = header_values.read_indexed_values

    def counted(path: str) -> Any:
        paths.append(path)
        return original(path)

    monkeypatch.setattr(folder_database, "read_indexed_values", counted)
    return paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a series of five, written in another order than that of their numbers."""
    from support.folders import write_ct

    directory = tmp_path / "files"
    for number, name in enumerate("ecbda", start=1):
        write_ct(directory / f"{name}.dcm", InstanceNumber=number)
    return directory


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[Any], None]], Any]]:
    """Start servers that answer as a function says."""
    from support.small_servers import Peer

    peers: list[Peer] = []

    def start(answer: Callable[[Any], None]) -> Peer:
        peers.append(Peer(answer))
        return peers[-1]

    yield start
    for one in peers:
        one.stop()
