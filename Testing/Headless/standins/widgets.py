"""``qSlicerDICOMLoadable`` and ``qSlicerDICOMExportable``."""

from __future__ import annotations

from typing import Any

from standins.pythonqt import Property, QtObject, flag_in, integer_in, method, number_in, text_in, texts_in


class qSlicerDICOMLoadable(QtObject):
    """A loadable of C++: six properties and references, and nothing else."""

    name = Property("Unknown", text_in)
    tooltip = Property("No further information available", text_in)
    warning = Property("", text_in)
    files = Property((), texts_in)
    referencedInstanceUIDs = Property((), texts_in)
    selected = Property(False, flag_in)
    loadSuccess = Property(False, flag_in)
    confidence = Property(0.5, number_in)


class qSlicerDICOMExportable(QtObject):
    """An exportable: its tags can be set and asked for by name, not listed."""

    name = Property("Unknown exporter", text_in)
    tooltip = Property("Creates DICOM files from the node", text_in)
    subjectHierarchyItemID = Property(0, integer_in)
    pluginClass = Property("", text_in)
    directory = Property("", text_in)
    confidence = Property(0.0, number_in)
    tags = Property(None, None)

    def __init__(self, parent: Any = None, /) -> None:
        self._values: dict[str, str] = {}

    @method
    def tag(self, name: Any) -> str:
        """Return the value, or an empty text; asking adds the key."""
        return self._values.setdefault(text_in(name), "")

    @method
    def setTag(self, name: Any, value: Any) -> None:
        """Set the value; None becomes the text ``None``."""
        self._values[text_in(name)] = text_in(value)
