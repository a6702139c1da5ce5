"""``dicombridge info PATH``: what is there, and what would be made of it."""

from __future__ import annotations

import argparse
from typing import Any

from dicombridge.cli import common
from dicombridge.cli.tables import harmless, json_text

HELP = "Show patients, studies and series, and what would be loaded from them."

_SERIES_TAGS = {
    "SeriesNumber": "0020,0011",
    "Modality": "0008,0060",
    "SeriesDescription": "0008,103E",
    "SOPClassUID": "0008,0016",
}
_STUDY_TAGS = {"StudyDate": "0008,0020", "StudyDescription": "0008,1030"}
_PATIENT_TAGS = {"PatientName": "0010,0010", "PatientID": "0010,0020"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", metavar="PATH", help="a DICOM file or a folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the table or the JSON."""
    summary = describe(arguments.path)
    print(json_text(summary, indent=2) if arguments.json else _as_text(summary))


def describe(path: str) -> dict[str, Any]:
    """Return what a path holds as plain values: patients, their studies, their series, and skipped files."""
    import dicombridge
    from dicombridge.errors import UnreadableError

    database = common.open_path(path)
    report = database.report
    loadables: dict[str, list[Any]] = {}
    for loadable in dicombridge.examine(database):
        loadables.setdefault(loadable.seriesInstanceUID, []).append(loadable)
    patients = [_patient(database, patient, loadables) for patient in database.patients()]
    skipped = [{"path": skipped_path, "reason": reason} for skipped_path, reason in report.skipped]
    if not patients:
        reason = skipped[0]["reason"] if len(skipped) == 1 else f"no DICOM file here ({len(skipped)} other files)."
        raise UnreadableError(path, reason)
    return {
        "path": path,
        "patients": patients,
        "skipped": skipped,
        "odd": [{"path": odd_path, "reason": reason} for odd_path, reason in report.odd],
        "duplicates": [{"path": copy, "instance": kept} for copy, kept in report.duplicates],
    }


def _patient(database: Any, patient: str, loadables: dict[str, list[Any]]) -> dict[str, Any]:
    studies = [_study(database, study, loadables) for study in database.studiesForPatient(patient)]
    return {**_first_values(database, studies, _PATIENT_TAGS), "studies": studies}


def _study(database: Any, study: str, loadables: dict[str, list[Any]]) -> dict[str, Any]:
    series = [_series(database, uid, loadables.get(uid, [])) for uid in database.seriesForStudy(study)]
    series.sort(key=lambda one: (_number(one["SeriesNumber"]), one["SeriesInstanceUID"]))
    return {"StudyInstanceUID": study, **_first_values(database, [{"series": series}], _STUDY_TAGS), "series": series}


def _first_values(database: Any, studies: list[dict[str, Any]], tags: dict[str, str]) -> dict[str, str]:
    uids = [series["SeriesInstanceUID"] for study in studies for series in study["series"]]
    file = database.filesForSeries(uids[0])[0] if uids else ""
    return {keyword: database.fileValue(file, tag) if file else "" for keyword, tag in tags.items()}


def _series(database: Any, uid: str, loadables: list[Any]) -> dict[str, Any]:
    files = list(database.filesForSeries(uid))
    values = {keyword: database.fileValue(files[0], tag) for keyword, tag in _SERIES_TAGS.items()}
    offers = [
        {
            "kind": loadable.kind,
            "name": loadable.name,
            "warning": loadable.warning,
            "selected": bool(loadable.selected),
            "confidence": loadable.confidence,
            "files": len(loadable.files),
            "references": len(loadable.referencedInstanceUIDs),
            "referencesFound": sum(bool(database.fileForInstance(uid)) for uid in loadable.referencedInstanceUIDs),
        }
        for loadable in loadables
    ]
    return {"SeriesInstanceUID": uid, **values, "files": len(files), "loadables": offers}


def _number(text: str) -> int:
    return int(text) if text.strip().lstrip("+-").isdigit() else 0


# Text -------------------------------------------------------------------------------------------------------------


def _as_text(summary: dict[str, Any]) -> str:
    lines = []
    for patient in summary["patients"]:
        lines.append(f"{patient['PatientName'] or '(no name)'}  {patient['PatientID']}".rstrip())
        for study in patient["studies"]:
            lines.append(f"  {_date(study['StudyDate'])}  {study['StudyDescription'] or '(no description)'}")
            lines += ["    " + line for line in _table(study["series"])]
    for title, key, detail in (
        ("Skipped", "skipped", "reason"),
        ("Unusual", "odd", "reason"),
        ("Left out, since another file has the same SOP Instance UID", "duplicates", "instance"),
    ):
        if summary[key]:
            lines.append(f"{title}:")
            lines += [f"  {entry['path']}: {entry[detail]}" for entry in summary[key]]
    return "\n".join(map(harmless, lines))


def _table(series: list[dict[str, Any]]) -> list[str]:
    head = ("No.", "Mod.", "Files", "Kind", "Loads as")
    rows = [head]
    notes: list[list[str]] = [[]]
    for one in series:
        chosen = [offer for offer in one["loadables"] if offer["selected"]]
        kinds = ", ".join(sorted({offer["kind"] for offer in chosen})) or "-"
        names = "; ".join(offer["name"] for offer in chosen) or f"(not loaded) {one['SeriesDescription']}".rstrip()
        rows.append((one["SeriesNumber"], one["Modality"], str(one["files"]), kinds, names))
        # Where nothing loads, all that is offered says why.
        notes.append(list(dict.fromkeys(note for offer in chosen or one["loadables"] for note in _notes(offer))))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for row, remarks in zip(rows, notes, strict=True):
        cells = [
            row[column].rjust(widths[column]) if column in (0, 2) else row[column].ljust(widths[column])
            for column in range(4)
        ]
        lines.append("  ".join([*cells, row[4]]))
        lines += [" " * (sum(widths) + 8) + remark for remark in remarks]
    return lines


def _notes(offer: dict[str, Any]) -> list[str]:
    notes = [f"! {' '.join(offer['warning'].split())}"] if offer["warning"] else []
    if offer["referencesFound"] < offer["references"]:
        missing = offer["references"] - offer["referencesFound"]
        notes.append(f"! {missing} of {offer['references']} referenced instances are not here")
    return notes


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else text or "(no date)"
