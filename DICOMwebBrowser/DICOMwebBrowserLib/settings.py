"""What the window keeps in Slicer's settings. Nothing in there is secret, and nothing says who is a patient."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import qt

from dicombridge.errors import DicomBridgeError
from dicombridge.web.addresses import redacted
from dicombridge.web.servers import Server

__all__ = ["Settings"]

_GROUP = "DICOMwebBrowser/"

# Of the DICOMwebBrowser by A. Lasso and S. Pieper, which this one follows.
_OLD_URL, _OLD_HISTORY = "ServerURL", "ServerURLHistory"
_OLD_IMPORTED = "OldSettingsImported"


class Settings:
    """Typed values in QSettings; structured ones are kept as JSON text, which comes back as it went."""

    def __init__(self) -> None:
        self._settings = qt.QSettings()

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        value = self._settings.value(_GROUP + key)
        return default if value is None else str(value)

    def set_text(self, key: str, value: str) -> None:
        """Keep a text."""
        self._settings.setValue(_GROUP + key, str(value))

    def value(self, key: str, default: Any) -> Any:
        """Return a structured value; the default where there is none, or none of its type."""
        try:
            value = json.loads(self.text(key))
        except ValueError:
            return default
        return value if isinstance(value, type(default)) else default

    def set_value(self, key: str, value: Any) -> None:
        """Keep a structured value."""
        self.set_text(key, json.dumps(value))

    # ------------------------------------------------------------------ servers

    @property
    def servers(self) -> list[dict[str, Any]]:
        """The servers of the person, as ``Server.to_json`` writes them; what is damaged is left out."""
        self._import_old()
        servers = []
        for values in self.value("Servers", []):
            try:
                servers.append(Server.from_json(values).to_json())
            except (DicomBridgeError, AttributeError):
                continue
        return servers

    @servers.setter
    def servers(self, servers: list[dict[str, Any]]) -> None:
        self.set_value("Servers", [Server.from_json(values).to_json() for values in servers])

    def _import_old(self) -> None:
        """Take over the addresses of the earlier browser, once."""
        if self.value(_OLD_IMPORTED, False):
            return
        self.set_value(_OLD_IMPORTED, True)
        history = self._settings.value(_GROUP + _OLD_HISTORY)
        history = [history] if isinstance(history, str) else list(history or ())
        known = {values.get("url") for values in self.value("Servers", [])}
        servers = list(self.value("Servers", []))
        for url in [self.text(_OLD_URL), *map(str, history)]:
            server = _server_of_old(url)
            if server and server["url"] not in known:
                known.add(server["url"])
                servers.append(server)
        if servers:
            self.set_value("Servers", servers)


def _server_of_old(url: str) -> dict[str, Any] | None:
    """Return a server for an address of the earlier browser, without the secrets that such addresses may hold."""
    try:
        parts = urlsplit(url.strip())
        clean = redacted(url.strip())
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            return None
        if "/view/" in parts.path or "/link/" in parts.path:
            # A link of Kheops: what follows is its token, which the person pastes again.
            clean = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/api"
            return Server.from_json({"url": clean, "name": host, "authentication": {"kind": "kheops"}}).to_json()
        kind = "gcloud" if host == "healthcare.googleapis.com" else "none"
        return Server.from_json({"url": clean, "name": host, "authentication": {"kind": kind}}).to_json()
    except (ValueError, DicomBridgeError):
        return None
