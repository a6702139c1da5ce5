"""What examination offers for key object selections: they are documents, and read as reports are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dicombridge.loadable import Loadable
from dicombridge.report.examine import examine_documents

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]


def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each Key Object Selection Document of a series (PS3.3 A.35.4)."""
    return examine_documents("KOS", "Key object selection", files, database)
