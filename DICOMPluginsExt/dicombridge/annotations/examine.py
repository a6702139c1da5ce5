"""What examination offers for annotations of slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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

__all__ = ["FEW", "examine"]

FEW = 100
"""Shapes of an object up to which it is offered as markups, too: each is a node, which Slicer draws one by one."""
_ALTERNATIVE = 0.45
"""Below the models: of equals, Slicer's browser selects all."""


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each annotation object of a series; files of other classes are passed over.

    It makes models. Behind it, an object of few shapes is offered once more, not selected, as markups.
    Of the object the header and the descriptions of its groups are read, not its coordinates. Bad files give a warning,
    never an exception.
    """
    counts: dict[str, int] = {}
    loadables = [_loadable(file, database, counts) for file in files_of_kind("ANN", files, database)]
    labels = [database.fileValue(one.files[0], CONTENT_LABEL) for one in loadables]
    tell_apart(loadables, labels if len(set(labels)) == len(labels) else [""] * len(labels), database)
    return [one for models in loadables for one in (models, *_as_markups(models, counts.get(models.files[0], 0)))]


def _as_markups(models: Loadable, shapes: int) -> list[Loadable]:
    """Return the offer of few shapes as markups, which can be edited point by point."""
    if not 0 < shapes <= FEW:
        return []
    tooltip = models.tooltip.replace("as models", "as markups, which can be edited point by point", 1)
    made = replace(models, name=f"{models.name} - as markups", tooltip=tooltip, options={"most_markups": FEW})
    made.files, made.referencedInstanceUIDs = list(models.files), list(models.referencedInstanceUIDs)
    made.selected, made.confidence = False, _ALTERNATIVE
    return [made]


def _loadable(file: str, database: Database, counts: dict[str, int]) -> Loadable:
    name = series_name(file, database, database.fileValue(file, CONTENT_LABEL), "Slide annotations")
    loadable = first_loadable("ANN", [file], database, name, "Annotations of a slide as models")
    with warning_of_damage(loadable):
        counts[file] = _look_into(loadable, database)
    return loadable


def _look_into(loadable: Loadable, database: Database) -> int:
    """Complete a loadable with what the header and the groups' descriptions say; return how many shapes there are."""
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
    return _shapes(groups)


def _shapes(groups: Sequence[Any]) -> int:
    return sum(value for one in groups if isinstance(value := one.get("NumberOfAnnotations"), int))


def _tooltip(groups: Sequence[Any], otherwise: str) -> str:
    if not groups:
        return otherwise
    labels = [str(one.get("AnnotationGroupLabel") or "?") for one in groups]
    return f"{otherwise}: {_shapes(groups)} shapes in {counted(labels, 'group')}"
