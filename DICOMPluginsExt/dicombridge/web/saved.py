"""Servers that somebody saved: in a file of settings, or in the settings of an application. Never a secret.

Slicer hands in its own settings, ``SavedServers(qt.QSettings())``; elsewhere a JSON file in the user's folder of
settings is used.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from dicombridge.errors import DicomBridgeError
from dicombridge.web.addresses import local_path, redacted
from dicombridge.web.places import user_folder
from dicombridge.web.presets import kheops_link
from dicombridge.web.secrets import session
from dicombridge.web.servers import Authentication, Server

__all__ = ["SavedServers", "Settings", "SettingsFile", "as_server", "server"]

KEY = "DICOMBridge/Servers"
IMPORTED = "DICOMBridge/OldServersImported"
OLD_KEYS = ("DICOMwebBrowser/ServerURL", "DICOMwebBrowser/ServerURLHistory")
FORMAT = "dicombridge servers"
GOOGLE_KINDS = ("gcloud", "google")
GOOGLE_HOST = "host"
"""Field that lets another host than Google's have a Google token."""


class Settings(Protocol):
    """What keeps values under names; ``QSettings`` is one."""

    def value(self, key: str) -> Any:
        """Return a value, None where there is none."""

    def setValue(self, key: str, value: Any) -> None:
        """Keep a value."""


class SettingsFile:
    """Settings in a JSON file, which only its owner can read.

    Parameters
    ----------
    path
        The file; by default ``servers.json`` in the user's folder of settings.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path else settings_folder() / "servers.json"

    def value(self, key: str) -> Any:
        """Return a value, None where there is none."""
        return self._read().get(key)

    def setValue(self, key: str, value: Any) -> None:
        """Keep a value; a reader sees the file before or after, never half of it."""
        values = {**self._read(), key: value}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _write(self.path, values)

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise DicomBridgeError(f"{self.path}: {error.strerror}.") from error
        except ValueError as error:
            raise DicomBridgeError(f"{self.path} is not JSON any more. Mend it, or move it away.") from error
        if not isinstance(values, dict):
            raise DicomBridgeError(f"{self.path} does not hold settings. Mend it, or move it away.")
        return values


class SavedServers:
    """The servers that somebody saved.

    Parameters
    ----------
    settings
        Where they are kept; by default the file of :class:`SettingsFile`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or SettingsFile()

    def all(self) -> list[Server]:
        """Return all of them, in the order in which they were saved; what cannot be read is left out."""
        self._import_old()
        return self._read()

    def get(self, name: str) -> Server | None:
        """Return the server of this name, None where there is none."""
        return next((one for one in self.all() if one.name == name), None)

    def save(self, server: Server) -> None:
        """Save a server, in place of one with the same name.

        Raises
        ------
        DicomBridgeError
            It has no name.
        """
        if not server.name.strip():
            raise DicomBridgeError(f"{server} needs a name to be saved under.")
        servers = self.all()
        names = [one.name for one in servers]
        if server.name in names:
            servers[names.index(server.name)] = server
        else:
            servers.append(server)
        self._write(servers)

    def remove(self, name: str) -> None:
        """Forget a server. Its secrets stay in the keychain until they are forgotten too.

        Raises
        ------
        DicomBridgeError
            There is none of this name.
        """
        servers = self.all()
        left = [one for one in servers if one.name != name]
        if len(left) == len(servers):
            raise DicomBridgeError(f"No server {name!r} is saved.")
        self._write(left)

    def export(self, path: str | Path) -> None:
        """Write all servers to a JSON file that others may have: there is no secret in it."""
        _write(Path(path), {"format": FORMAT, "servers": [one.to_json() for one in self.all()]})

    def import_file(self, path: str | Path) -> list[Server]:
        """Save the servers of a file that :meth:`export` wrote; return them, renamed where the name was taken.

        A server that is here already is left as it is, so that a file from somebody else cannot send requests, under a
        name that one knows, elsewhere. For the same reason the field ``host`` of the kinds ``gcloud`` and ``google`` is
        left out: it says to whom the person's Google token may go, and only the person can say that, here.

        Raises
        ------
        DicomBridgeError
            The file is no such file; then nothing was saved.
        """
        try:
            values = json.loads(Path(path).read_text("utf-8"))
            found = [Server.from_json(one) for one in values["servers"]]
        except OSError as error:
            raise DicomBridgeError(f"{path}: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DicomBridgeError(f"{path} is not a file of servers.") from error
        servers = self.all()
        new = []
        for given in found:
            one = _without_trust(given)
            if given not in servers and one not in servers:
                renamed = one.changed(name=_free(one.name or _short(one.url), {other.name for other in servers}))
                servers.append(renamed)
                new.append(renamed)
        self._write(servers)
        return new

    def _read(self) -> list[Server]:
        text = self._settings.value(KEY)
        if not text:
            return []
        try:
            values = json.loads(text) if isinstance(text, str) else text
        except ValueError:
            values = None
        if not isinstance(values, list):
            raise DicomBridgeError(f"The setting {KEY} is damaged: it should be a list of servers.")
        servers = []
        for one in values:
            with suppress(DicomBridgeError):
                servers.append(Server.from_json(one))
        return servers

    def _write(self, servers: Iterable[Server]) -> None:
        self._settings.setValue(KEY, json.dumps([one.to_json() for one in servers], ensure_ascii=False))

    def _import_old(self) -> None:
        """Take over, once, the addresses of the earlier DICOMweb browser."""
        if self._settings.value(IMPORTED):
            return
        addresses: list[str] = []
        for key in OLD_KEYS:
            value = self._settings.value(key)
            addresses += [value] if isinstance(value, str) else [str(one) for one in value or ()]
        if not addresses:
            return
        servers = self._read()
        for address in dict.fromkeys(one.strip() for one in addresses):
            with suppress(DicomBridgeError):
                old = _old_server(address)
                if old is not None and old.url not in {one.url for one in servers}:
                    servers.append(old.changed(name=_free(old.name, {one.name for one in servers})))
        self._write(servers)
        self._settings.setValue(IMPORTED, "1")


def server(text: str, settings: Settings | None = None) -> Server:
    """Return the server that somebody means: a saved name, an address, a folder or a zip file.

    Parameters
    ----------
    text
        What somebody wrote.
    settings
        Where servers are saved; by default the file of :class:`SettingsFile`.

    Raises
    ------
    DicomBridgeError
        It is none of these. The message names the saved servers.
    """
    text = text.strip()
    saved = SavedServers(settings)
    found = saved.get(text)
    if found is not None:
        return found
    if "://" in text:
        linked = kheops_link(text)
        if linked is not None:
            session.set(linked[0], "token", linked[1])
            return linked[0]
        same = [one for one in saved.all() if one.url == text.rstrip("/")]
        return same[0] if len(same) == 1 else Server(text)
    path = local_path(text) if text else None
    if path is not None and path.exists():
        return Server(str(path))
    names = ", ".join(one.name for one in saved.all()) or "none"
    raise DicomBridgeError(
        f"{text!r} is no saved server, folder or zip file, and no address, which begins with http:// or "
        f"https://. Saved servers: {names}."
    )


def as_server(given: Server | str | Path) -> Server:
    """Return a server that was given as such, by its saved name, its address, or as a folder, which may be a new one.

    Raises
    ------
    DicomBridgeError
        It is none of these.
    """
    if isinstance(given, Server):
        return given
    if isinstance(given, Path):
        return Server(str(given))
    if not isinstance(given, str):
        raise DicomBridgeError(f"A {type(given).__name__} is no server, saved name, address or folder.")
    return server(given)


def settings_folder() -> Path:
    """Return the user's folder for our settings."""
    return user_folder("config")


def _old_server(address: str) -> Server | None:
    """Return a server of an address that may hold secrets, which go to memory and not into the new settings."""
    linked = kheops_link(address)
    if linked is not None:
        session.set(linked[0], "token", linked[1])
        return linked[0]
    if "://" not in address:
        return None
    parts = urlsplit(address)
    clean = redacted(address)
    found = Server(clean, name=_short(clean))
    if parts.username:
        found = found.changed(authentication=Authentication("basic", {"user": unquote(parts.username)}))
        if parts.password:
            session.set(found, "password", unquote(parts.password))
    elif (parts.hostname or "").endswith(".googleapis.com") and parts.scheme == "https":
        found = found.changed(authentication=Authentication("gcloud"))
    return found


def _without_trust(server: Server) -> Server:
    """Return a server of somebody else without what would let it have the Google token of the person here."""
    kind, fields = server.authentication.kind, dict(server.authentication.fields)
    if kind not in GOOGLE_KINDS or fields.pop(GOOGLE_HOST, None) is None:
        return server
    return server.changed(authentication=Authentication(kind, fields))


def _short(url: str) -> str:
    """Return a name for an address: its host, or the last part of a path."""
    path = local_path(url)
    return path.name if path is not None else urlsplit(url).netloc


def _free(name: str, taken: set[str]) -> str:
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _write(path: Path, values: dict[str, Any]) -> None:
    """Write JSON to a temporary file, readable by its owner only, and rename it."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DicomBridgeError(f"{path} cannot be written: {error.strerror}.") from error
