"""Servers that everybody knows: how their addresses look, how one gets in, and what they can do.

What is stated here was taken from the servers' documentation and from measurements; the doctor measures the rest.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from dicombridge.errors import DicomBridgeError
from dicombridge.web.profile import Profile
from dicombridge.web.secrets import Secret
from dicombridge.web.servers import Authentication, Server

__all__ = ["PRESETS", "Preset", "kheops_link", "preset", "preset_server"]

IDC_PATH = "current/viewer-only-no-downloads-see-tinyurl-dot-com-slash-3j3d9jyp/dicomWeb"

GOOGLE = Profile(
    product="Google Cloud Healthcare API",
    page_size=1000,
    pages=True,
    last_offset=1_000_000,
    wildcard=False,
    fuzzy=True,
    searchable=(
        *("StudyInstanceUID", "PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName", "StudyDate"),
        *("SeriesInstanceUID", "Modality", "SOPInstanceUID"),
    ),
    decodes_queries=True,
    single_part=True,
    notes=("Names are found whole, or by their beginnings with fuzzy matching; there are no wildcards.",),
)


@dataclass(frozen=True)
class Preset:
    """A server of which only a few words are missing.

    Parameters
    ----------
    name
        Its name in programs.
    title
        Its name for people.
    address
        Its address, with the missing words in braces.
    words
        Word -> what is usual, empty where nothing is.
    ways
        Kinds of authentication that it knows, the usual one first.
    profile
        What it can do.
    fields
        Public fields of the authentication, which may have words in braces too.
    """

    name: str
    title: str
    address: str
    words: dict[str, str]
    ways: tuple[str, ...]
    profile: Profile
    fields: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "title": self.title,
            "address": self.address,
            "words": dict(self.words),
            "ways": list(self.ways),
            "profile": self.profile.to_json(),
            "fields": dict(self.fields),
        }


PRESETS = (
    Preset(
        "local",
        "Folder or zip file",
        "{folder}",
        {"folder": ""},
        ("none",),
        Profile(product="local folder", pages=True, wildcard=True, fuzzy=False),
    ),
    Preset(
        "orthanc",
        "Orthanc",
        "{scheme}://{host}:{port}/dicom-web",
        {"scheme": "http", "host": "localhost", "port": "8042"},
        ("none", "basic", "bearer", "oidc", "certificate"),
        Profile(product="Orthanc", pages=True, wildcard=True, fuzzy=False, single_part=False),
    ),
    Preset(
        "dcm4chee",
        "dcm4chee archive 5",
        "{scheme}://{host}:{port}/dcm4chee-arc/aets/{aet}/rs",
        {"scheme": "http", "host": "localhost", "port": "8080", "aet": "DCM4CHEE"},
        ("none", "oidc", "bearer", "certificate"),
        Profile(
            product="dcm4chee-arc",
            page_size=1000,
            pages=True,
            last_offset=99_999,
            includefield="all",
            wildcard=True,
            fuzzy=True,
            decodes_queries=True,
            patients=True,
            thumbnails="thumbnail",
        ),
    ),
    Preset(
        "google",
        "Google Cloud Healthcare",
        "https://healthcare.googleapis.com/v1/projects/{project}/locations/{location}/datasets/{dataset}/"
        "dicomStores/{store}/dicomWeb",
        {"project": "", "location": "us-central1", "dataset": "", "store": ""},
        ("gcloud", "google", "bearer"),
        GOOGLE,
    ),
    Preset(
        "azure",
        "Azure Health Data Services",
        "https://{workspace}-{service}.dicom.azurehealthcareapis.com/v2",
        {"workspace": "", "service": "", "tenant": "", "client_id": ""},
        ("oidc", "bearer"),
        Profile(
            product="Azure DICOM service",
            page_size=200,
            pages=True,
            includefield="all",
            wildcard=False,
            fuzzy=True,
            decodes_queries=True,
            single_part=True,
            store_bytes=2 << 30,
            notes=("Names are found whole, or by their beginnings with fuzzy matching; there are no wildcards.",),
        ),
        (
            ("issuer", "https://login.microsoftonline.com/{tenant}/v2.0"),
            ("client_id", "{client_id}"),
            ("scope", "https://dicom.healthcareapis.azure.com/.default offline_access"),
        ),
    ),
    Preset(
        "aws",
        "AWS HealthImaging",
        "https://dicom-medical-imaging.{region}.amazonaws.com/datastore/{datastore}",
        {"region": "us-east-1", "datastore": ""},
        ("sigv4", "bearer", "oidc"),
        Profile(
            product="AWS HealthImaging",
            page_size=1000,
            last_offset=10_000,
            wildcard=False,
            retrieve_levels=("instance",),
            single_part=True,
            thumbnails="none",
            requests_per_second=50.0,
            store_bytes=1 << 30,
            notes=("Instances are retrieved one by one, at most 50 in a second.",),
        ),
        (("region", "{region}"),),
    ),
    Preset(
        "idc",
        "Imaging Data Commons (proxy)",
        f"https://proxy.imaging.datacommons.cancer.gov/{IDC_PATH}",
        {},
        ("none",),
        Profile(
            **{
                **vars(GOOGLE),
                "product": "Imaging Data Commons",
                "connections": 2,
                "store": False,
                "notes": (
                    "The proxy has a daily quota for each address and is meant for viewing.",
                    "Whole collections are free to download from its buckets.",
                ),
            }
        ),
    ),
    Preset(
        "kheops",
        "Kheops",
        "https://{host}/api",
        {"host": "demo.kheops.online"},
        ("kheops", "bearer"),
        Profile(
            product="Kheops",
            pages=True,
            wildcard=True,
            notes=("A link that somebody shared, https://HOST/view/TOKEN, can be pasted as it is.",),
        ),
    ),
)
"""All presets."""


def preset(name: str) -> Preset:
    """Return a preset.

    Raises
    ------
    DicomBridgeError
        There is none of this name.
    """
    for one in PRESETS:
        if one.name == name:
            return one
    raise DicomBridgeError(f"{name!r} is not a preset; there are {', '.join(one.name for one in PRESETS)}.")


def preset_server(name: str, way: str = "", title: str = "", **words: str) -> Server:
    """Return a server as a preset describes it.

    Parameters
    ----------
    name
        Name of the preset.
    way
        Kind of authentication; by default the preset's usual one.
    title
        Name of the server; by default that of the preset.
    **words
        The words of its address.

    Examples
    --------
    >>> preset_server("orthanc", host="pacs.example.org", scheme="https", port="443").url
    'https://pacs.example.org:443/dicom-web'

    Raises
    ------
    DicomBridgeError
        There is no such preset, or a word is missing or unknown.
    """
    found = preset(name)
    unknown = sorted(set(words) - set(found.words))
    if unknown:
        known = ", ".join(found.words) or "none"
        raise DicomBridgeError(f"The preset {name!r} does not know {', '.join(unknown)}; its words are {known}.")
    given = {**found.words, **{word: str(value).strip() for word, value in words.items()}}
    missing = sorted(word for word in _words(found.address) if not given[word])
    if missing:
        raise DicomBridgeError(f"The preset {name!r} needs {', '.join(missing)}.")
    # A path of this machine is taken as it is; in an address, a word must not bring a host or a path of its own.
    quoted = given if name == "local" else {word: _part(value) for word, value in given.items()}
    kind = way or found.ways[0]
    fields = {key: value.format(**quoted) for key, value in found.fields if all(given[w] for w in _words(value))}
    return Server(
        found.address.format(**quoted),
        name=title or found.title,
        authentication=Authentication(kind, fields if kind == found.ways[0] else {}),
        profile=found.profile,
    )


def kheops_link(url: str) -> tuple[Server, Secret] | None:
    """Return the server and the token of a Kheops link, ``https://HOST/view/TOKEN``; None for another address.

    >>> server, token = kheops_link("https://demo.kheops.online/view/abcdEFGH1234")
    >>> server.url, token
    ('https://demo.kheops.online/api', Secret(...))
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    match = re.fullmatch(r"/view/([A-Za-z0-9._~-]{8,})/?", parts.path)
    if match is None or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    server = preset_server("kheops").changed(url=f"{parts.scheme}://{parts.netloc}/api", name=f"Kheops {parts.netloc}")
    return server, Secret(match[1])


def _words(text: str) -> list[str]:
    return [word for _, word, _, _ in string.Formatter().parse(text) if word]


def _part(value: str) -> str:
    return quote(value, safe=":[]") if value.startswith("[") else quote(value, safe=".-_~")
