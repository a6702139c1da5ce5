"""An Orthanc of the tests' own: free loopback port, temporary folder, ended by its process id."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PLUGINS = (
    Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"),
    Path("/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so"),
)
STARTS_WITHIN = 60.0
ENDS_WITHIN = 15.0


@dataclass
class Orthanc:
    """A running Orthanc."""

    port: int
    folder: Path
    users: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def rest(self) -> str:
        """Root of Orthanc's own interface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Root of DICOMweb."""
        return f"{self.rest}/dicom-web"

    def ask(self, path: str, data: bytes | None = None, method: str | None = None) -> Any:
        """Ask Orthanc's own interface, which is no code of ours; JSON as values, anything else as bytes."""
        request = urllib.request.Request(f"{self.rest}/{path}", data=data, method=method)
        for user, password in list(self.users.items())[:1]:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read()
            return json.loads(body) if "json" in answer.headers.get("Content-Type", "") else body

    def add(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Store files by Orthanc's own interface; the answer names those that it refused, with its reason."""
        refused = {}
        for path in paths:
            try:
                self.ask("instances", Path(path).read_bytes())
            except urllib.error.HTTPError as error:
                refused[path] = f"{error.code}"
                error.close()
        return refused

    def clear(self) -> None:
        """Delete all that is stored."""
        for patient in self.ask("patients"):
            self.ask(f"patients/{patient}", method="DELETE")

    def instance_ids(self) -> list[str]:
        """Orthanc's own identifiers of all instances."""
        return list(self.ask("instances"))

    def file_of(self, instance: str) -> bytes:
        """The stored bytes of an instance, by Orthanc's own identifier."""
        return bytes(self.ask(f"instances/{instance}/file"))

    def stop(self) -> None:
        """End the process; kill it where it does not end."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """End the process at once, where nobody needs its files any more: it takes seconds to end by itself."""
        if self.process is not None:
            self.process.kill()
        self.stop()

    def start(self) -> None:
        """Start the process on its port and folder, and wait until it answers."""
        (self.folder / "orthanc.json").write_text(json.dumps(_configuration(self)))
        log = self.folder / "orthanc.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [_program(), str(self.folder / "orthanc.json")], stdout=output, stderr=subprocess.STDOUT
            )
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                self.ask("system")
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        pytest.fail(f"Orthanc does not start:\n{log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    """Return a loopback port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def start_orthanc(folder: Path, users: Mapping[str, str] | None = None) -> Iterator[Orthanc]:
    """Start an Orthanc, with users and passwords where some are given, and end it."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Orthanc(free_port(), folder, dict(users or {}))
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _program() -> str:
    program = shutil.which("Orthanc") or shutil.which("orthanc")
    if program is None or _plugin() is None:
        pytest.fail("Orthanc and its DICOMweb plugin are not installed (Debian: orthanc orthanc-dicomweb)")
    return program


def _plugin() -> Path | None:
    return next((path for path in PLUGINS if path.exists()), None)


def _configuration(server: Orthanc) -> dict[str, Any]:
    return {
        "Name": "DICOMBridge tests",
        "StorageDirectory": str(server.folder / "storage"),
        "IndexDirectory": str(server.folder / "index"),
        "StorageCompression": False,
        "SyncStorageArea": False,
        "Plugins": [str(_plugin())],
        "HttpPort": server.port,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": bool(server.users),
        "RegisteredUsers": dict(server.users),
        "DicomServerEnabled": False,
        "ConcurrentJobs": 2,
        "HttpThreadsCount": 20,
        "SslEnabled": False,
        "KeepAlive": True,
        "TcpNoDelay": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }
