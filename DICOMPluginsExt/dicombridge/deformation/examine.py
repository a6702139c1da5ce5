"""What examination offers for deformable registrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dicombridge.registration.examine import needed, offered, tooltip
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["examine"]


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each Deformable Spatial Registration of a series; other files are passed over.

    Values come from the database's tag cache, and once from the header of the object itself; its vectors are not read.
    Bad files give a warning, never an exception.
    """
    return offered("DEFORM", files, database, _look_into)


def _look_into(loadable: Loadable, database: Database) -> str:
    from dicombridge.deformation.reading import DEFORMABLE_REGISTRATION_SEQUENCE, read_deformation
    from dicombridge.multiframe import open_multiframe
    from dicombridge.text import plain_text

    file = loadable.files[0]
    with open_multiframe(file, pixels=False, without=(DEFORMABLE_REGISTRATION_SEQUENCE,)) as opened:
        deformation = read_deformation(opened, file)
    items, registered = deformation.items, deformation.registered_frame_uid
    frames = [registered, *(item.frame_of_reference_uid for item in items)]
    loadable.referencedInstanceUIDs = needed(loadable, deformation.header, frames, database)
    forms = [
        "x".join(map(str, item.grid.dimensions)) + " vectors" if item.grid is not None else item.matrix_type
        for item in items
    ]
    loadable.tooltip = tooltip("Deformable spatial registration", items, registered, forms)
    loadable.warning = " ".join(deformation.warnings)
    return plain_text(deformation.header.get("ContentLabel"))
