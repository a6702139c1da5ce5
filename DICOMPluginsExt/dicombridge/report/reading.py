"""From a file to plain values: header, content tree, measurement groups in patient coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicombridge.errors import UnreadableError
from dicombridge.kinds import kind_named
from dicombridge.multiframe import open_multiframe
from dicombridge.references import Reference, references_of
from dicombridge.report.content import CONTENT_SEQUENCE, ContentItem, read_content
from dicombridge.report.placement import place_regions
from dicombridge.report.recognizing import all_references, recognized_groups

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.database import Database
    from dicombridge.report.groups import Group

__all__ = ["Report", "read_report"]

MOST_FAULTS = 5
"""Items that a warning names."""


@dataclass(eq=False)
class Report:
    """A document.

    Attributes
    ----------
    header
        All but the content tree.
    shadow
        The whole document as text (:mod:`dicombridge.shadow`).
    groups
        Measurement groups, and loose ones for geometry elsewhere.
    references
        What it refers to: in its evidence, and in its content.
    warnings
        What could not be understood or placed.
    """

    path: str
    header: Dataset
    shadow: str
    root: ContentItem
    groups: list[Group]
    references: list[Reference]
    warnings: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Meaning of the root's Concept Name."""
        return self.root.concept.meaning if self.root.concept is not None else ""


def read_report(file: str, kind: str, database: Database | None) -> Report:
    """Read a structured report, whatever its template; images are looked up for coordinates in them.

    Raises
    ------
    UnreadableError
        The file is damaged or no structured report.
    """
    with open_multiframe(file, pixels=False, without=(CONTENT_SEQUENCE,)) as opened:
        buffer, layout = opened.top_level()
        if not layout.complete or layout.dataset_stop < len(buffer):
            raise UnreadableError(file, "is cut short: its last element ends beyond the end of the file.")
        header, shadow = opened.header, opened.shadow()
        if str(header.get("SOPClassUID") or "") not in kind_named(kind).sop_classes:
            raise UnreadableError(file, "holds another object than before; examine the series again.")
        header.decode()
        tree = read_content(opened)
    groups = recognized_groups(tree.root)
    warnings = [_fault(reason, places) for reason, places in tree.faults.items()]
    warnings += place_regions(groups, database)
    return Report(file, header, shadow, tree.root, groups, _references(header, tree.root, groups), warnings)


def _fault(reason: str, places: list[str]) -> str:
    more = f" and {len(places) - MOST_FAULTS} more" if len(places) > MOST_FAULTS else ""
    return f"Content {', '.join(places[:MOST_FAULTS])}{more}: {reason}."


def _references(header: Dataset, root: ContentItem, groups: list[Group]) -> list[Reference]:
    """Return each referenced instance once, with its series where the evidence says it."""
    found = {one.sop_instance_uid or f"series {one.series_instance_uid}": one for one in references_of(header)}
    for one in [*all_references(groups), *(each for item in root.walk() for each in item.references)]:
        found.setdefault(one.sop_instance_uid, Reference(one.sop_instance_uid, one.sop_class_uid))
    own = str(header.get("SOPInstanceUID") or "")
    return [one for uid, one in found.items() if uid != own]
