"""Content tree -> what a person reads: an outline, and a row of a table an item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicombridge.tables import Column

if TYPE_CHECKING:
    from dicombridge.report.content import ContentItem

__all__ = ["content_columns", "outline_of"]

_TELLING = frozenset({"INFERRED FROM", "SELECTED FROM"})
"""Relationships that the outline says; the others are clear from what the item is."""
MOST_TEXT = 4000
"""Characters of a value in the outline; the table has it whole."""


def outline_of(root: ContentItem, title: str) -> str:
    """Return the document as text, an item a line, indented by its level.

    Concept first, then the value with its units; what a value was inferred or selected from is said in brackets.
    """
    lines = [title, ""] if title else []
    for item in root.walk():
        level = len(item.position) - 1
        name = item.concept.meaning if item.concept is not None else ("" if item.text else item.value_type.lower())
        value = _shown(item)
        text = f"{name}: {value}" if name and value else name or value
        relation = f" [{item.relation.lower()}]" if item.relation in _TELLING else ""
        lines.append("  " * level + text.replace("\n", "\n" + "  " * (level + 1))[:MOST_TEXT] + relation)
    return "\n".join(lines) + "\n"


def _shown(item: ContentItem) -> str:
    if item.target:
        return f"see item {'.'.join(map(str, item.target))}"
    if item.value_type != "NUM":
        return item.text
    if item.value is None:
        return item.qualifier.meaning if item.qualifier is not None else item.text or "no value"
    number = item.text or f"{item.value:g}"
    units = item.units.meaning if item.units is not None and item.units.value != "1" else ""
    qualifier = f" ({item.qualifier.meaning})" if item.qualifier is not None else ""
    return f"{number} {units}".strip() + qualifier


def content_columns(root: ContentItem) -> list[Column]:
    """Return the columns of the table of all items, one a row."""
    items = list(root.walk())
    concepts = [item.concept for item in items]
    codes = [item.value if item.value_type == "CODE" else None for item in items]
    return [
        Column(
            "Item", [".".join(map(str, item.position)) for item in items], description="Position in the content tree"
        ),
        Column("Level", [len(item.position) for item in items]),
        Column("Relation", [item.relation for item in items], description="Relationship Type"),
        Column("Type", [item.value_type for item in items], description="Value Type"),
        Column("Concept", [one.meaning if one is not None else "" for one in concepts], description="Concept Name"),
        Column("Concept code", [_code(one) for one in concepts], description="Scheme and value of the Concept Name"),
        Column("Value", [_shown(item) if item.value_type != "NUM" else item.text for item in items]),
        Column("Value code", [_code(one) for one in codes], description="Scheme and value of a coded value"),
        Column("Units", [item.units.value if item.units is not None else "" for item in items]),
        Column(
            "Reference",
            [" ".join(one.sop_instance_uid for one in item.references) for item in items],
            description="SOP Instance UIDs",
        ),
    ]


def _code(code: object) -> str:
    scheme, value = getattr(code, "scheme_designator", ""), getattr(code, "value", "")
    return f"{scheme}:{value}" if value else ""
