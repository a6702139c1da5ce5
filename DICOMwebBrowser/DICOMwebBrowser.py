"""Find, load, download and send with DICOMweb servers.

The module is window and wiring: :mod:`DICOMwebBrowserLib` has the parts, :mod:`dicombridge.web` does the work, in a
process of its own.
"""

from __future__ import annotations

import logging
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

logger = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    """Return ``GoogleCloudPlatform``, which other extensions import from here; what it needs is imported then."""
    if name == "GoogleCloudPlatform":
        from dicombridge.web.google import GoogleCloudPlatform

        return GoogleCloudPlatform
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class DICOMwebBrowser(ScriptedLoadableModule):
    """What Slicer shows of the module, and what it does before anybody opens it."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("DICOMweb Browser")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Informatics")]
        parent.dependencies = ["DICOM"]
        parent.contributors = ["DICOMBridge contributors"]
        parent.helpText = _(
            "Finds studies on DICOMweb servers, in folders and in zip files, shows them before they are downloaded, "
            "loads them, and sends results back."
        )
        parent.acknowledgementText = _(
            "Follows the DICOMwebBrowser by Andras Lasso and Steve Pieper. Reads and writes DICOM with pydicom."
        )
        slicer.app.connect("startupCompleted()", self.startupCompleted)
        slicer.app.connect("urlReceived(QString)", self.urlReceived)

    def startupCompleted(self) -> None:
        """Go on with transfers that an earlier Slicer did not finish; without any, nothing is started."""
        self.addToSubjectHierarchy()
        if slicer.app.testingEnabled():
            return
        from DICOMwebBrowserLib.settings import Settings

        if Settings().value("Wishes", {}):
            DICOMwebBrowserLogic().resumeTransfers()

    def addToSubjectHierarchy(self) -> None:
        """Add *Send to a DICOMweb server...* to the menu of data nodes."""
        if slicer.util.mainWindow() is None:
            return
        try:
            from DICOMwebBrowserLib import DICOMwebBrowserSubjectHierarchyPlugin as plugin

            scripted = slicer.qSlicerSubjectHierarchyScriptedPlugin(None)
            scripted.setPythonSource(plugin.DICOMwebBrowserSubjectHierarchyPlugin.filePath)
        except (ImportError, AttributeError):
            logger.exception("The DICOMweb Browser has no entry in the menu of the subject hierarchy.")

    def urlReceived(self, url: str) -> None:
        """Ask whether a link is to be followed. The link is not logged, because it may hold a token."""
        from dicombridge.errors import DicomBridgeError
        from DICOMwebBrowserLib import links

        try:
            link = links.parse(str(url))
        except DicomBridgeError as error:
            logger.error("A link for the DICOMweb Browser cannot be followed: %s", type(error).__name__)
            # Slicer logs what it shows, and the error quotes what cannot be read of the link: that may be a token.
            slicer.util.errorDisplay(_("This link cannot be followed: it names no server and study that can be read."))
            return
        if link is not None:
            DICOMwebBrowserLogic().askAboutLink(link)


class DICOMwebBrowserWidget(ScriptedLoadableModuleWidget):
    """The module's panel."""

    def setup(self) -> None:
        """Make the panel; the session that it shows may be older than the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        from DICOMwebBrowserLib.session import current
        from DICOMwebBrowserLib.window import Window

        self.root = slicer.util.loadUI(self.resourcePath("UI/DICOMwebBrowser.ui"))
        self.layout.addWidget(self.root)
        self.ui = slicer.util.childWidgetVariables(self.root)
        self.logic = DICOMwebBrowserLogic()
        self.window = Window(self.root, self.ui, current())
        self.logic.resumeTransfers()

    def cleanup(self) -> None:
        """Let go of the session, which goes on: transfers survive the panel."""
        if getattr(self, "window", None) is not None:
            self.window.close()
            self.window = None


class DICOMwebBrowserLogic(ScriptedLoadableModuleLogic):
    """The same as the panel, for scripts. Nothing here waits; functions are called when something is done."""

    @property
    def session(self) -> Any:
        """The session of this Slicer: servers, search, transfers."""
        from DICOMwebBrowserLib.session import current

        return current()

    def resumeTransfers(self) -> None:
        """Go on with what an earlier Slicer did not finish; once in a session."""
        session = self.session
        if session.has_unfinished and not session.state.get("resumed"):
            session.state["resumed"] = True
            session.jobs.load_unfinished()

    def loadSeries(self, server: dict[str, Any], studyUID: str, seriesUIDs: list[str], action: str = "load") -> None:
        """Retrieve series, and load them (``load``) or leave them in the database (``download``).

        Parameters
        ----------
        server
            As ``dicombridge.web.Server(...).to_json()`` gives it; for a folder ``{"url": folder}``.
        studyUID, seriesUIDs
            What to retrieve.
        action
            ``load`` or ``download``.
        """
        self.session.retrieving.get([(studyUID, uid) for uid in seriesUIDs], action, server)

    def askAboutLink(self, link: Any) -> None:
        """Show where a link leads to; follow it if the person agrees."""
        from DICOMwebBrowserLib.following import ask

        self._linkDialog = ask(self.session, link, slicer.util.mainWindow())

    def links(self, urls: list[str]) -> list[Any]:
        """Return which of these addresses are links of ours."""
        from dicombridge.errors import DicomBridgeError
        from DICOMwebBrowserLib import links

        found = []
        for url in urls:
            try:
                found.append(links.parse(url))
            except DicomBridgeError as error:
                # Neither the link nor the message, which quotes what cannot be read of it: that may be a token.
                logger.warning("A dropped link for the DICOMweb Browser cannot be read: %s", type(error).__name__)
        return [link for link in found if link is not None]


class DICOMwebBrowserFileDialog:
    """Series that are dragged into the scene; Slicer finds the class by its name."""

    def __init__(self, qSlicerFileDialog: Any) -> None:
        self.qSlicerFileDialog = qSlicerFileDialog
        qSlicerFileDialog.fileType = "DICOMweb"
        qSlicerFileDialog.description = _("Load from a DICOMweb server")
        qSlicerFileDialog.action = slicer.qSlicerFileDialog.Read
        self.found: list[Any] = []

    def execDialog(self) -> None:
        """Show the module; there is no other dialog."""
        slicer.util.selectModule("DICOMwebBrowser")

    def isMimeDataAccepted(self) -> None:
        """Accept links to what one of the person's own servers has; other links are asked about elsewhere."""
        logic = DICOMwebBrowserLogic()
        urls = [str(url.toString()) for url in self.qSlicerFileDialog.mimeData().urls()]
        self.found = logic.links(urls)
        self.qSlicerFileDialog.acceptMimeData(bool(self.found))

    def dropEvent(self) -> None:
        """Load what was dropped."""
        from DICOMwebBrowserLib.following import follow_dropped

        self.qSlicerFileDialog.dropEvent().accept()
        follow_dropped(DICOMwebBrowserLogic().session, self.found)
        self.found = []


class DICOMwebBrowserTest(ScriptedLoadableModuleTest):
    """Run from the developer tools of the panel; the self test of the extension does more."""

    def runTest(self) -> None:
        """Ask whether the module finds itself complete."""
        from DICOMwebBrowserLib import links

        link = links.parse(links.link_to("https://example.org/dicom-web", "1.2.3", "1.2.3.4"))
        assert link is not None
        assert (link.host, link.study, link.series) == ("https://example.org", "1.2.3", ("1.2.3.4",))
        assert slicer.util.getModuleWidget("DICOMwebBrowser").window is not None
