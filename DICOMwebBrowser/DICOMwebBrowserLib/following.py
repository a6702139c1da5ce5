"""Following a link once somebody agreed to it."""

from __future__ import annotations

from typing import Any

from dicombridge.web.addresses import origin
from DICOMwebBrowserLib.link_dialog import LinkDialog
from DICOMwebBrowserLib.links import Link
from DICOMwebBrowserLib.search_terms import Attempt
from DICOMwebBrowserLib.session import Session

__all__ = ["ask", "follow", "follow_dropped"]


def server_of(session: Session, link: Link) -> tuple[dict[str, Any], bool]:
    """Return the server of the list that a link means, or a new one; and whether it is one of the list.

    The same host does not do: on one host there may be the stores of many.
    """
    for server in session.servers.all:
        url = str(server.get("url") or "")
        if url.rstrip("/") == link.server.rstrip("/"):
            return server, True
    return {"url": link.server, "name": origin(link.server).host}, False


def ask(session: Session, link: Link, parent: Any = None) -> LinkDialog:
    """Show where a link leads to, and follow it if the person agrees."""
    _server, is_known = server_of(session, link)
    dialog = LinkDialog(link, is_known, lambda action: follow(session, link, action), parent)
    dialog.show()
    return dialog


def follow(session: Session, link: Link, action: str) -> None:
    """Do what was agreed to: ``show`` the study in the results, or ``load`` it."""
    server, _is_known = server_of(session, link)
    if link.token:
        # In the worker's memory only, and bound to this server; never in the settings.
        server = {**server, "authentication": {"kind": "bearer"}}
        session.give_secret(server, "token", link.token)
    session.query.start(server, [Attempt("study", {"StudyInstanceUID": link.study}, "")], {})
    _select_module()
    if action == "load":
        places = [(link.study, series) for series in link.series] or [(link.study, "")]
        session.retrieving.get(places, "load", server)  # not when the search has ended: another one may begin


def follow_dropped(session: Session, dropped: list[Link]) -> None:
    """Load what was dragged from the results; anything else is asked about as a link is."""
    places = []
    for link in dropped:
        server, is_known = server_of(session, link)
        if not is_known or link.token:
            ask(session, link)
            continue
        places = [(link.study, series) for series in link.series] or [(link.study, "")]
        session.retrieving.get(places, "load", server)


def _select_module() -> None:
    import slicer

    if slicer.util.mainWindow() is not None:
        slicer.util.selectModule("DICOMwebBrowser")
