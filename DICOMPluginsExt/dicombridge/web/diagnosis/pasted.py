"""What people paste: roots of servers, addresses of viewers and of studies in them, links, folders."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urljoin, urlsplit

from dicombridge.errors import DicomBridgeError
from dicombridge.web.addresses import check_uid, is_loopback, local_path, origin, redacted, without_slash
from dicombridge.web.presets import PRESETS, Preset, kheops_link, preset, preset_server
from dicombridge.web.secrets import Secret
from dicombridge.web.servers import Server

__all__ = ["Pasted", "configured_roots", "preset_of", "roots_below", "understood"]

SUFFIXES = (
    *("/dicom-web", "/dicomWeb", "/rs", "/dicomweb", "/v2", "/v1", "/api", "/orthanc/dicom-web"),
    "/dcm4chee-arc/aets/DCM4CHEE/rs",
)
"""Where servers have DICOMweb below their address."""
_RESOURCES = re.compile(r"/(studies|series|instances|patients)(/|$)")
_VIEWERS = re.compile(
    r"/(app/explorer\.html|ui/app|ui2?|viewer|ohif|stone-webviewer|osimis-viewer|volview|weasis|view|segmentation"
    r"|microscopy|tmtv|index\.html|healthcare/browser|system|web-viewer)(/|$)"
)
_STUDY = re.compile(r"(?:studyinstanceuids?|studyuid|study|studies|viewer)[=/]\"?([0-9]+(?:\.[0-9]+)+)", re.IGNORECASE)
_SERIES = re.compile(r"(?:seriesinstanceuids?|seriesuid|series)[=/]\"?([0-9]+(?:\.[0-9]+)+)", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:\d{1,5})?(/.*|\?.*|#.*)?")
_GOOGLE = re.compile(
    r"(?:projects/(?P<project>[^/?#]+)/)?locations/(?P<location>[^/?#]+)/datasets/(?P<dataset>[^/?#]+)/"
    r"dicomStores/(?P<store>[^/?#]+)"
)
_IDC_VIEWER = "viewer.imaging.datacommons.cancer.gov"
_MOST_ANCESTORS = 3


@dataclass
class Pasted:
    """What a text means.

    Attributes
    ----------
    server
        The server as it was entered; its address may not be the root yet.
    roots
        Addresses to try, the likeliest first.
    study, series
        UIDs that the address names, else empty.
    is_viewer
        The address is that of a viewer, which may say in its configuration where its server is.
    token
        The secret of a link.
    notes
        What a person should know.
    """

    server: Server
    roots: list[str] = field(default_factory=list)
    study: str = ""
    series: str = ""
    is_viewer: bool = False
    token: Secret | None = field(default=None, repr=False)
    notes: list[str] = field(default_factory=list)


def understood(text: str) -> Pasted:
    """Return what a pasted text means.

    Raises
    ------
    DicomBridgeError
        It is neither an address nor a folder or zip file that exists.
    """
    text = text.strip().strip("<>\"'")
    if not text:
        raise DicomBridgeError("Enter the address of a server, or a folder.")
    if "://" not in text:
        path = local_path(text)
        if path is not None and path.exists():
            return Pasted(Server(text))
        if not _HOST.fullmatch(text) or not re.search(r"[.:\]]|^localhost", text.partition("/")[0]):
            raise DicomBridgeError(f"{text!r} is neither an address nor a folder that exists.")
        host = origin(f"http://{text}").host
        schemes = ("http", "https") if is_loopback(host) else ("https", "http")
        pasted = _address(f"{schemes[0]}://{text}")
        second = _address(f"{schemes[1]}://{text}")
        pasted.roots += second.roots
        return pasted
    if text.lower().startswith("file:"):
        return Pasted(Server(text))
    return _address(text)


def _address(text: str) -> Pasted:
    link = kheops_link(text)
    if link is not None:
        server, token = link
        return Pasted(server, [server.url], token=token)
    plain = redacted(text)
    place = origin(plain)
    named = unquote(text.partition("://")[2])
    study, series = _uid(_STUDY, named), _uid(_SERIES, named)
    if place.host == _IDC_VIEWER:
        server = preset_server("idc")
        return Pasted(server, [server.url], study, series, is_viewer=True)
    google = _GOOGLE.search(named)
    if google:
        words = {name: value for name, value in google.groupdict().items() if value}
        project = re.search(r"[?&]project=([^&#]+)", named)
        if project:
            words.setdefault("project", project[1])
        if "project" in words and (place.host.endswith(".google.com") or place.host.endswith(".googleapis.com")):
            server = preset_server("google", **words)
            return Pasted(server, [server.url], study, series)
    path = without_slash(urlsplit(plain).path)
    cut = _RESOURCES.search(path)
    root = path[: cut.start()] if cut else path
    viewer = _VIEWERS.search(root + "/")
    base = root[: viewer.start()] if viewer else root
    pasted = Pasted(
        Server(f"{place}{base}"), roots_below(str(place), base, cut is not None), study, series, viewer is not None
    )
    if "@" in urlsplit(text).netloc:
        pasted.notes.append("The user and password in the address were left out: enter them as authentication.")
    return pasted


def roots_below(place: str, path: str, is_root: bool = False) -> list[str]:
    """Return addresses at which the root may be, the likeliest first.

    >>> roots_below("https://host", "/pacs")[:3]
    ['https://host/pacs', 'https://host/pacs/dicom-web', 'https://host/pacs/dicomWeb']
    """
    found = [f"{place}{path}"] if path else []
    if is_root:
        return found or [place]
    ancestors = [path]
    while ancestors[-1] and len(ancestors) < _MOST_ANCESTORS:
        ancestors.append(ancestors[-1].rpartition("/")[0])
    for ancestor in dict.fromkeys([*ancestors, ""]):
        found += [f"{place}{ancestor}{suffix}" for suffix in SUFFIXES if not ancestor.endswith(suffix)]
    return [*dict.fromkeys([*found, place])]


def configured_roots(viewer: str, script: str) -> list[str]:
    """Return the roots that the configuration of an OHIF viewer names.

    >>> configured_roots("https://host/app-config.js", "{ qidoRoot: '/pacs/rs', wadoRoot: '/pacs/rs' }")
    ['https://host/pacs/rs']
    """
    named = re.findall(r"[\"']?(?:qidoRoot|wadoRoot)[\"']?\s*:\s*[\"'`]([^\"'`$]+)[\"'`]", script)
    found = [without_slash(urljoin(viewer, name)) for name in named]
    return [*dict.fromkeys(root for root in found if root.startswith(("http://", "https://")))]


def preset_of(root: str) -> Preset | None:
    """Return the preset whose address this is, of those with hosts of their own."""
    for one in PRESETS:
        if one.address.startswith("https://") and not one.address.startswith("https://{host}"):
            pattern = re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(one.address))
            if re.fullmatch(pattern, root):
                return one
    return None


def local_preset() -> Preset:
    """Return the preset of folders."""
    return preset("local")


def _uid(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    try:
        return check_uid(found[1]) if found else ""
    except DicomBridgeError:
        return ""
