"""Content trees as datasets (PS3.3 C.17.3): what belongs to the root of a document, and a walk over its items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset

__all__ = ["CONTENT_SEQUENCE", "ROOT", "Position", "placed_items", "tree_items", "without_content"]

CONTENT_SEQUENCE = 0x0040A730
ROOT = ("ValueType", "ConceptNameCodeSequence", "ContinuityOfContent", "ContentTemplateSequence", "ContentSequence")
"""Keywords of the root item, which lies at the top level of a document."""

Position = tuple[int, ...]
"""Places from the root, which is ``(1,)`` (PS3.3 C.17.3.2.5)."""


def placed_items(root: Dataset) -> Iterator[tuple[Position, Dataset]]:
    """Yield all items of a tree with their positions, the root first."""
    waiting: list[tuple[Position, Dataset]] = [((1,), root)]
    while waiting:
        position, item = waiting.pop()
        yield position, item
        content: Any = item.get("ContentSequence") or ()
        waiting.extend(((*position, place), child) for place, child in enumerate(content, start=1))


def tree_items(root: Dataset) -> Iterator[Dataset]:
    """Yield all items of a tree, the root first."""
    return (item for _, item in placed_items(root))


def without_content(document: Dataset) -> Dataset:
    """Return all of a document but its root item."""
    alone = Dataset()
    alone.update({element.tag: element for element in document if element.keyword not in ROOT})
    return alone
