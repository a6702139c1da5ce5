"""How real DICOMweb servers differ, as switches of a scripted one; and studies for it to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

CT = "1.2.840.10008.5.1.4.1.1.2"
ROOT = "1.2.826.0.1.3680043.10.999"
GOOGLE_SEARCHABLE = (
    *("StudyInstanceUID", "PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName", "StudyDate"),
    *("SeriesInstanceUID", "Modality", "SOPInstanceUID"),
)


@dataclass(frozen=True)
class Quirks:
    """How a server behaves. The defaults are what the standard says."""

    root: str = "/dicom-web"
    user: str = ""
    """``name:password``; then everything below needs Basic authentication."""
    challenge: str = 'Basic realm="Scripted"'
    locks_all: bool = True
    """Whether paths outside the root want it too."""
    forbids: bool = False
    empty_204: bool = False
    gzip: bool = False
    most: int | None = None
    """The server's own limit of results."""
    refuses_more: bool = False
    """Whether a larger limit is an error."""
    default_limit: int | None = None
    warns: bool = False
    """Whether a Warning header says that there are more results."""
    ignores_offset: bool = False
    ignores_limit: bool = False
    shifts: int = 0
    """Results by which each later page begins too early: a study came in between."""
    searchable: tuple[str, ...] = ()
    """Keywords; others are refused."""
    ignored: tuple[str, ...] = ()
    """Keywords of filters that are ignored."""
    ignores_unknown: bool = False
    wildcard: bool = True
    fuzzy: bool = False
    decodes: bool = True
    uid_lists: bool = True
    includefield: str = "list"
    """``list``, ``all``, ``ignored``, ``refused``."""
    leaves_out: tuple[str, ...] = ()
    """Keywords that never come."""
    describes: bool = True
    patients: bool = False
    thumbnail: bool = False
    rendered: bool = True
    refuses_lists_of_types: bool = False
    transfer_syntax_any: bool = True
    quoted_type: bool = True
    single_part: bool = False
    series_retrieval: bool = True
    metadata: bool = True
    clock_error: float = 0.0
    redirects_to: str = ""
    product: str = "scripted"


ORTHANC_OLD = Quirks(
    challenge='Basic realm="Orthanc Secure Area"',
    ignores_unknown=True,
    decodes=False,
    refuses_lists_of_types=True,
    describes=False,
    product="Mongoose",
)
ORTHANC_NEW = replace(ORTHANC_OLD, decodes=True, thumbnail=True, empty_204=False)
GOOGLE = Quirks(
    root="/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb",
    challenge='Bearer realm="https://accounts.google.com/"',
    empty_204=True,
    most=5000,
    searchable=GOOGLE_SEARCHABLE,
    wildcard=False,
    fuzzy=True,
    includefield="list",
    describes=False,
    single_part=True,
)
IDC = replace(GOOGLE, root="/current/viewer-only/dicomWeb", includefield="refused", most=1000)
AZURE = Quirks(
    root="/v2",
    challenge='Bearer authorization_uri="https://login.microsoftonline.com/tenant", resource_id="x"',
    empty_204=True,
    most=200,
    refuses_more=True,
    default_limit=100,
    wildcard=False,
    fuzzy=True,
    includefield="all",
    leaves_out=("ModalitiesInStudy",),
    single_part=True,
)
DCM4CHEE = Quirks(
    root="/dcm4chee-arc/aets/DCM4CHEE/rs",
    challenge='Bearer realm="dcm4che"',
    empty_204=True,
    most=100,
    warns=True,
    fuzzy=True,
    patients=True,
    thumbnail=True,
    single_part=True,
)
AWS = Quirks(
    root="/datastore/0123",
    challenge="AWS4-HMAC-SHA256",
    most=1000,
    wildcard=False,
    includefield="ignored",
    rendered=False,
    series_retrieval=False,
    single_part=True,
    quoted_type=False,
)


class Studies(Sequence[Mapping[str, Any]]):
    """Any number of studies of one instance each, made when they are asked for."""

    def __init__(self, count: int, **values: Any) -> None:
        self._count = count
        self._values = values

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        return instance(index + 1, **self._values)


def instance(number: int, series: int = 1, within: int = 1, **values: Any) -> dict[str, Any]:
    """Return the attributes of an instance: of study, series and number within the series."""
    return {
        "StudyInstanceUID": f"{ROOT}.{number}",
        "SeriesInstanceUID": f"{ROOT}.{number}.{series}",
        "SOPInstanceUID": f"{ROOT}.{number}.{series}.{within}",
        "SOPClassUID": CT,
        "PatientName": f"Patient{number:06d}^Anna",
        "PatientID": f"P{number:06d}",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyDate": f"{2000 + number % 25}{number % 12 + 1:02d}{number % 28 + 1:02d}",
        "StudyTime": "101500",
        "StudyID": str(number),
        "StudyDescription": "Chest" if number % 2 else "Head",
        "InstitutionName": "Hospital",
        "AccessionNumber": f"A{number}",
        "Modality": "CT",
        "SeriesNumber": series,
        "SeriesDescription": f"Series {series}",
        "BodyPartExamined": "CHEST",
        "ProtocolName": "routine",
        "Manufacturer": "Scripted",
        "InstanceNumber": within,
        "NumberOfFrames": 1,
        "Rows": 16,
        "Columns": 16,
        "BitsAllocated": 16,
        "SamplesPerPixel": 1,
        **values,
    }
