"""Series of Slicer's database become nodes of the scene, by the best of its plugins."""

from __future__ import annotations

import logging

from slicer.i18n import tr as _

__all__ = ["load"]

logger = logging.getLogger(__name__)


def load(series: list[str]) -> tuple[str, bool]:
    """Load series; return what to say of it, and whether that is an error."""
    import slicer
    from DICOMLib import DICOMUtils

    messages: list[str] = []
    try:
        ids = DICOMUtils.loadSeriesByUID(series, messages)
    except Exception as error:  # anybody's plugin may raise anything; the person is told
        logger.exception("DICOMwebBrowser: the series cannot be loaded.")
        return _("It came, but cannot be loaded: {error}").format(error=error), True
    nodes = [slicer.mrmlScene.GetNodeByID(node_id) for node_id in ids or ()]
    # Helpers like colours and label maps that were removed again are nothing to tell of.
    names = [node.GetName() for node in nodes if node is not None and not node.GetHideFromEditors()]
    if names:
        shown = ", ".join(names[:3]) + ("..." if len(names) > 3 else "")
        text = _("Loaded: {names}") if len(names) == 1 else _("Loaded {n} nodes: {names}")
        return text.format(n=len(names), names=shown), False
    reason = " ".join(messages) or _("No plugin of Slicer loads it; it is in the database.")
    return reason, True
