"""What examination offers for second-generation radiotherapy objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from dicombridge.loadable import Loadable
from dicombridge.second_generation_rt.summary import label_of, title_of
from dicombridge.single_files import Told, examine_single_files

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]


def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each object of a series; files of other classes are passed over."""
    return examine_single_files("RTSECOND", files, database, "Second-generation radiotherapy object", _told)


def _told(header: Dataset) -> Told:
    label = label_of(header)
    return Told(label, f"{title_of(header)} as tables" + (f": {label}" if label else ""))
