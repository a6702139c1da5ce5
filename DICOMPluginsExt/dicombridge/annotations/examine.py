"""What examination offers for annotations of slides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import (
    counted,
    files_of_kind,
    first_loadable,
    series_name,
    tell_apart,
    warning_of_damage,
)
from dicombridge.loadable import Loadable
from dicombridge.tags import CONTENT_LABEL
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each annotation object of a series; files of other classes are passed over.

    Of the object the header and the descriptions of its groups are read, not its coordinates. Bad files give a warning,
    never an exception.
    """
    loadables = [_loadable(file, database) for file in files_of_kind("ANN", files, database)]
    labels = [database.fileValue(one.files[0], CONTENT_LABEL) for one in loadables]
    tell_apart(loadables, labels if len(set(labels)) == len(labels) else [""] * len(labels), database)
    return loadables


def _loadable(file: str, database: Database) -> Loadable:
    name = series_name(file, database, database.fileValue(file, CONTENT_LABEL), "Slide annotations")
    loadable = first_loadable("ANN", [file], database, name, "Annotations of a slide as models")
    with warning_of_damage(loadable):
        _look_into(loadable, database)
    return loadable


def _look_into(loadable: Loadable, database: Database) -> None:
    """Complete a loadable with what the header and the groups' descriptions say."""
    from dicombridge.annotations.placement import referenced_image
    from dicombridge.annotations.reading import described_groups
    from dicombridge.references import instances_needed, references_of

    header, groups = described_groups(loadable.files[0])
    loadable.referencedInstanceUIDs = instances_needed(references_of(header), database)
    loadable.tooltip = _tooltip(groups, loadable.tooltip)
    _, uid, _ = referenced_image(header)
    warnings = []
    if not groups:
        warnings.append("It holds no annotation groups.")
    if not uid or not database.fileForInstance(uid):
        if str(header.get("AnnotationCoordinateType") or "").strip() == "2D":
            warnings.append(
                "The slide image that it annotates is not in the database; its pixel coordinates cannot be placed "
                "without it."
            )
        elif uid:
            warnings.append("The slide image that it annotates is not in the database.")
    loadable.warning = " ".join(warnings)


def _tooltip(groups: Sequence[Any], otherwise: str) -> str:
    if not groups:
        return otherwise
    shapes = sum(value for one in groups if isinstance(value := one.get("NumberOfAnnotations"), int))
    labels = [str(one.get("AnnotationGroupLabel") or "?") for one in groups]
    return f"{otherwise}: {shapes} shapes in {counted(labels, 'group')}"
