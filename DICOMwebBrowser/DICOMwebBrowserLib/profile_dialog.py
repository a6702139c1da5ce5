"""What is changed before sending, where the person wants the patient's identity removed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import texts, toolkit
from DICOMwebBrowserLib.pacing import Pacer

__all__ = ["PACKAGE", "ProfileDialog", "install", "is_available"]

PACKAGE = "dicom-anonymizer"
"""Its tables follow PS3.15 Table E.1-1; it is no part of Slicer."""


def is_available() -> bool:
    """Whether the package with the profile is installed."""
    return importlib.util.find_spec("dicomanonymizer") is not None


def install(then: Callable[[str], Any]) -> None:
    """Install the package, and call ``then`` with what went wrong: "" where nothing did.

    Where Slicer can, it goes on meanwhile; older ones wait for pip.
    """
    import slicer

    try:
        from slicer import packaging
    except ImportError:
        packaging = None

    def ended(*_result: Any) -> None:
        importlib.invalidate_caches()  # or Python does not see what is new in a folder that it has looked into
        then("" if is_available() else _("Slicer's log says why."))

    try:
        if packaging is not None:
            packaging.pip_install(PACKAGE, blocking=False, completedCallback=ended)
            return
        slicer.util.pip_install(PACKAGE)
    except Exception as error:  # of pip, of the network, of a disk that is full
        then(str(error) or type(error).__name__)
        return
    ended()


class ProfileDialog:
    """The Basic Application Level Confidentiality Profile, attribute by attribute."""

    def __init__(self, parent: Any = None) -> None:
        from dicombridge.web.storing.deidentifying import Deidentification

        self._rows = Deidentification().rows()
        self._pacer = Pacer()
        self.dialog = qt.QDialog(parent)
        self.dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
        self.dialog.windowTitle = _("What changes before sending")
        self.dialog.finished.connect(lambda *_args: self._pacer.stop())
        layout = qt.QVBoxLayout(self.dialog)
        text = qt.QLabel(
            _(
                "By the Basic Application Level Confidentiality Profile of DICOM (PS3.15 E). Private attributes are "
                "removed. UIDs are mapped, so that objects sent together still refer to each other. Pixels are not "
                "looked at: an object that says that names are burned into them is not sent. Your own files stay."
            )
        )
        text.wordWrap = True
        layout.addWidget(text)
        self.table = qt.QTreeWidget()
        self.table.accessibleName = _("The profile")
        self.table.setHeaderLabels([_("Number"), _("Attribute"), _("What happens")])
        self.table.rootIsDecorated = False
        self.table.uniformRowHeights = True
        self.table.alternatingRowColors = True
        for column, width in enumerate((12, 42)):
            self.table.setColumnWidth(column, width * toolkit.unit())
        layout.addWidget(self.table)
        self.count = toolkit.dimmed(
            qt.QLabel(texts.count(len(self._rows), _("{n} attribute"), _("{n} attributes, and all private ones")))
        )
        layout.addWidget(self.count)
        self.dialog.resize(100 * toolkit.unit(), 75 * toolkit.unit())
        self._pacer.run("fill", self._fill())

    def show(self) -> None:
        """Show it beside the other windows."""
        self.dialog.show()

    def _fill(self) -> Iterator[None]:
        for tag, name, action in self._rows:
            self.table.addTopLevelItem(qt.QTreeWidgetItem([f"{tag[:4]},{tag[4:]}", name, action]))
            yield
