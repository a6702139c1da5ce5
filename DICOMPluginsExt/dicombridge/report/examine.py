"""What examination offers for structured reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import files_of_kind, first_loadable, series_name, tell_apart, warning_of_damage
from dicombridge.loadable import Loadable
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine", "examine_documents", "wraps_private_data"]

LONGEST_PRIVATE = 4096
"""Bytes of a private element, beyond which it is what a vendor's document is about."""


def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each structured report of a series; files of other classes are passed over.

    Vendor documents that only wrap private data (Siemens Phoenix) are left alone. Values come from the database's tag
    cache; the header of the document itself is read once. Bad files give a warning, never an exception.
    """
    return examine_documents("SR", "Structured report", files, database)


@quiet()
def examine_documents(kind: str, title: str, files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each document of a kind."""
    loadables = []
    for file in files_of_kind(kind, files, database):
        loadable = first_loadable(kind, [file], database, series_name(file, database, title), title)
        left_alone = False
        with warning_of_damage(loadable):
            left_alone = _look_into(loadable, database)
        if not left_alone:
            loadables.append(loadable)
    tell_apart(loadables, [""] * len(loadables), database)
    return loadables


def _look_into(loadable: Loadable, database: Database) -> bool:
    """Complete a loadable from the document's header; return whether the document is to be left alone."""
    from dicombridge.multiframe import open_multiframe
    from dicombridge.references import Reference, instances_needed, references_of
    from dicombridge.report.content import CONTENT_SEQUENCE, read_content

    with open_multiframe(loadable.files[0], pixels=False, without=(CONTENT_SEQUENCE,)) as opened:
        header = opened.header
        if wraps_private_data(header):
            return True
        references = references_of(header)
        if not references:
            # Without evidence, only the content itself tells.
            items = read_content(opened).root.walk()
            references = [
                Reference(one.sop_instance_uid, one.sop_class_uid) for item in items for one in item.references
            ]
    title = (header.get("ConceptNameCodeSequence") or [{}])[0].get("CodeMeaning")
    if title:
        loadable.tooltip = f"{loadable.tooltip}: {title}"
    uids = dict.fromkeys(one.sop_instance_uid for one in references if one.sop_instance_uid)
    uids.pop(str(header.get("SOPInstanceUID") or ""), None)
    missing = [uid for uid in uids if not database.fileForInstance(uid)]
    if missing:
        loadable.warning = (
            f"{len(missing)} of {len(uids)} instances that it refers to are not in the database; what lies in these "
            "images is listed in its table, but not shown."
        )
    needed = dict.fromkeys(instances_needed(references, database))
    needed.pop(str(header.get("SOPInstanceUID") or ""), None)
    loadable.referencedInstanceUIDs = list(needed)
    return False


def wraps_private_data(header: Any) -> bool:
    """Whether a document only wraps private data: its template is private, and private elements are its content."""
    template = next(iter(header.get("ContentTemplateSequence") or ()), None)
    resource = str(template.get("MappingResource") or "") if template is not None else ""
    if not resource.startswith("99"):
        return False
    lengths = (len(element.value) for element in header if element.tag.is_private and isinstance(element.value, bytes))
    return any(length > LONGEST_PRIVATE for length in lengths)
