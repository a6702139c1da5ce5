"""The DICOMweb browser's main path inside Slicer, with a folder as the server: find, load, send back.

Slicer runs it with ``slicer.testing.runUnitTest``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import DICOMBridgeSegmentationSelfTest as phantom
import DICOMBridgeSelfTestSupport as support

SECONDS = 120.0


class DICOMwebBrowserSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        """Write what the server has; the database stays empty."""
        server = self.folder / "server"
        server.mkdir()
        self.sources = phantom.write_ct(server)
        self.seg = phantom.write_seg(server, self.sources)

    def setUp(self) -> None:
        super().setUp()
        from DICOMwebBrowserLib import session

        session.close()  # that of another test
        self.addCleanup(session.close)
        self.session = session.current()
        self.session.servers.put({"url": str(self.folder / "server"), "name": "Self test"})
        self.panel = self.make_panel()
        self.addCleanup(self.panel.cleanup)

    def make_panel(self) -> Any:
        """Return a panel of the module."""
        import qt

        from DICOMwebBrowser import DICOMwebBrowserWidget

        place = qt.QWidget()
        qt.QVBoxLayout(place)
        panel = DICOMwebBrowserWidget(place)
        panel.setup()
        self.place = place
        return panel

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Let the event loop go on until something holds."""
        import qt

        end = time.monotonic() + SECONDS
        while not condition():
            self.assertLess(time.monotonic(), end, f"{what}; the window says: {self.panel.window.message.text}")
            qt.QCoreApplication.processEvents()
            time.sleep(0.005)

    def found(self) -> tuple[str, dict[str, str]]:
        """Search and open the study; return its UID, and its series by their modality."""
        self.panel.ui.searchButton.click()
        study = str(self.seg.StudyInstanceUID)
        self.wait(lambda: self.panel.window.tree.is_made(study), "the study is not found")
        self.panel.window.tree.expand(study)
        results = self.session.results
        self.wait(lambda: study in results.series, "the series do not come")
        return study, {item["Modality"]: uid for uid, item in results.series[study].items()}

    def test_find(self) -> None:
        """What the folder has is listed, with the numbers of its images."""
        study, series = self.found()
        self.assertEqual(set(series), {"CT", "SEG"})
        self.assertEqual(self.panel.window.tree.text(study, "name"), "Self, Test")
        self.assertEqual(self.panel.window.tree.text(study, "images", series["CT"]), str(len(self.sources)))

    def test_load(self) -> None:
        """Both series come into the database and into the scene, the segmentation on its image."""
        study, _series = self.found()
        self.panel.window.tree.select(study)
        self.panel.ui.loadButton.click()
        jobs = self.session.jobs.jobs
        self.wait(lambda: len(jobs) == 2 and all(job.has_ended for job in jobs), "the transfers do not end")
        self.assertEqual([job.error for job in jobs], [{}, {}])
        (segmentation,) = self.nodes("vtkMRMLSegmentationNode")
        (volume,) = self.nodes("vtkMRMLScalarVolumeNode")
        role = segmentation.GetReferenceImageGeometryReferenceRole()
        self.assertEqual(segmentation.GetNodeReferenceID(role), volume.GetID())

    def test_send_back(self) -> None:
        """The loaded segmentation goes to the server, into the same study."""
        self.test_load()
        before = sorted((self.folder / "server").rglob("*"))
        send = self.panel.window.send
        send.choose_source("scene")
        self.wait(lambda: send.tree.topLevelItemCount >= 2 and not send._pacer.is_running("fill"), "nothing is offered")
        (segmentation,) = self.nodes("vtkMRMLSegmentationNode")
        import qt

        for index in range(send.tree.topLevelItemCount):
            row = send.tree.topLevelItem(index)
            if row.text(0) == segmentation.GetName():
                row.setCheckState(0, qt.Qt.Checked)
        send.send_button.click()
        self.wait(lambda: len(self.session.jobs.jobs) == 3, send.message.text)
        job = self.session.jobs.jobs[-1]
        self.wait(lambda: job.has_ended, "it is not sent")
        self.assertEqual((job.state, job.error), ("done", {}))
        (sent,) = [
            path for path in sorted((self.folder / "server").rglob("*")) if path not in before and path.is_file()
        ]
        self.assertEqual(phantom.counts_in_file(sent), phantom.voxel_counts())
        shutil.rmtree(self.folder / "server")
