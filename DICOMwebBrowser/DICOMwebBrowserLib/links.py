"""Links to what is on a server: ``slicer://dicomweb?server=...&study=...&series=...``."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from dicombridge.errors import DicomBridgeError
from dicombridge.web.addresses import check_uid, origin, redacted

__all__ = ["Link", "link_to", "parse"]

_HOST = "dicomweb"
_SECRETS = ("access_token", "token")


@dataclass(frozen=True)
class Link:
    """What a link asks for. The token, where there is one, is never shown, kept or logged."""

    server: str
    study: str
    series: tuple[str, ...] = ()
    token: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """Scheme, host and port, for the question whether to go there."""
        return str(origin(self.server))


def parse(text: str) -> Link | None:
    """Return what a link asks for, None where it is none of ours.

    Raises
    ------
    DicomBridgeError
        It is ours, but no server and study can be read from it. The message may quote what cannot be read, which may be
        secret: it is not to be shown or logged.
    """
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return None
    if parts.scheme != "slicer" or parts.netloc != _HOST:
        return None
    values = parse_qs(parts.query)
    server = (values.get("server") or [""])[0]
    origin(server)
    studies = values.get("study") or []
    if len(studies) != 1:
        raise DicomBridgeError("The link names no study, or several.")
    series = [uid for many in values.get("series", []) for uid in many.split(",") if uid]
    token = next((values[name][0] for name in _SECRETS if values.get(name)), "")
    return Link(redacted(server), check_uid(studies[0]), tuple(check_uid(uid) for uid in series), token)


def link_to(server: str, study: str, series: str = "") -> str:
    """Return a link to a study or series, without anything secret."""
    values = {"server": redacted(server), "study": study} | ({"series": series} if series else {})
    return f"slicer://{_HOST}?{urlencode(values)}"
