"""Finding out what is behind an address that somebody pastes: where the root is, how to get in, what works.

=================  ==================================================================
``pasted``         what an address means, and where the root may be
``probing``        which of these answers
``certificates``   who vouches for the server
``measuring``      what it can do, as a profile that queries then use
=================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dicombridge.errors import AuthenticationError, DicomBridgeError, UnreachableError, WebError
from dicombridge.web.addresses import is_loopback, origin
from dicombridge.web.cancelling import Cancel
from dicombridge.web.diagnosis.certificates import certificate_of
from dicombridge.web.diagnosis.measuring import Finding, measured
from dicombridge.web.diagnosis.pasted import Pasted, configured_roots, local_preset, preset_of, understood
from dicombridge.web.diagnosis.probing import Found, authentication_asked, connected, find_root, script, scripts
from dicombridge.web.servers import Authentication, Server, Tls

__all__ = ["Diagnosis", "Finding", "doctor"]

Listener = Callable[[Finding], object]


@dataclass(frozen=True)
class Diagnosis:
    """What was found out.

    Attributes
    ----------
    server
        The server with its root, its kind of authentication, and the profile that was measured.
    findings
        What was found, in the order in which it was.
    study, series
        UIDs that the address named, else empty.
    """

    server: Server
    findings: tuple[Finding, ...]
    study: str = ""
    series: str = ""

    @property
    def ok(self) -> bool:
        """Whether the server can be used as it is."""
        return all(finding.ok is not False for finding in self.findings if finding.what in ("root", "authentication"))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; there is no secret in them."""
        return {
            "server": self.server.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "study": self.study,
            "series": self.series,
        }


def doctor(text_or_server: str | Server, *, cancel: Cancel | None = None, found: Listener | None = None) -> Diagnosis:
    """Find out what is behind an address.

    Nothing is stored, and nothing is changed on the server. Credentials go to the scheme, host and port that were
    entered, never to where that leads.

    Parameters
    ----------
    text_or_server
        What a person pastes: the root of a server, of the machine, an address of a viewer (OHIF, Orthanc Explorer,
        Kheops, IDC), a folder, a zip file; or a server with its authentication.
    cancel
        Who may stop it.
    found
        Called with each finding as it comes.

    Raises
    ------
    DicomBridgeError
        This is neither an address nor a folder.
    CancelledError
        Somebody asked to stop.
    """
    stop = cancel or Cancel()
    pasted = _of_server(text_or_server) if isinstance(text_or_server, Server) else understood(text_or_server)
    examination = _Examination(pasted, stop, found or (lambda _finding: None))
    return examination.local() if pasted.server.is_local else examination.remote()


def _of_server(server: Server) -> Pasted:
    if server.is_local:
        return Pasted(server)
    pasted = understood(server.url)
    same = origin(pasted.server.url) == origin(server.url)
    pasted.server = server if same else pasted.server
    if server.qido:
        pasted.roots = [server.qido]
    return pasted


class _Examination:
    """One call of the doctor."""

    def __init__(self, pasted: Pasted, cancel: Cancel, found: Listener) -> None:
        self._pasted = pasted
        self._cancel = cancel
        self._listener = found
        self._findings: list[Finding] = []

    def _say(self, what: str, ok: bool | None, text: str) -> None:
        self._keep(Finding(what, ok, text))

    def _keep(self, finding: Finding) -> None:
        self._findings.append(finding)
        self._listener(finding)

    def _diagnosis(self, server: Server) -> Diagnosis:
        return Diagnosis(server, tuple(self._findings), self._pasted.study, self._pasted.series)

    def local(self) -> Diagnosis:
        """Examine a folder or zip file."""
        from dicombridge.web import local

        server = self._pasted.server.changed(profile=local_preset().profile)
        try:
            with local.open(server, self._cancel) as archive:
                report = archive.database.report
                self._say("root", True, f"{server}: {archive.database!r}.")
                if report.skipped:
                    self._say("files", None, f"{len(report.skipped)} files are not DICOM and left out.")
        except WebError:
            raise
        except DicomBridgeError as error:
            self._say("root", False, str(error))
        return self._diagnosis(server)

    def remote(self) -> Diagnosis:
        """Examine a server."""
        for note in self._pasted.notes:
            self._say("address", None, note)
        if self._pasted.token is not None:
            from dicombridge.web.secrets import set_secret

            set_secret(self._pasted.server, "token", self._pasted.token)
            self._say("address", True, "This is a link to an album; what it lets in is kept for this session.")
        root = self._root()
        if not root.is_open and not isinstance(root.error, AuthenticationError):
            if isinstance(root.error, UnreachableError) and origin(root.server.url).scheme == "https":
                self._transport(root.server)  # a certificate that is not trusted is the likeliest reason
            entered = f"No DICOMweb server was found at {self._pasted.server.url} or below it."
            self._say("root", False, str(root.error) if isinstance(root.error, UnreachableError) else entered)
            return self._diagnosis(root.server)
        self._say("root", True, f"The root is {root.server.qido_root}.")
        server = self._named(root.server)
        self._transport(server)
        server = self._let_in(server, root)
        if root.is_open:
            with connected(server, self._cancel) as connection:
                profile = measured(connection, self._keep)
            server = server.changed(profile=profile)
        return self._diagnosis(server)

    def _root(self) -> Found:
        pasted = self._pasted
        if pasted.is_viewer:
            # Its configuration says where it looks, which is better than trying.
            for address in scripts(pasted.server.url):
                named = configured_roots(address, script(pasted.server, address, self._cancel))
                root = find_root(pasted.server, named, self._cancel) if named else None
                if root is not None and (root.is_open or isinstance(root.error, AuthenticationError)):
                    self._say("address", True, "This is a viewer, which says in its configuration where its server is.")
                    return root
        return find_root(pasted.server, pasted.roots, self._cancel)

    def _named(self, server: Server) -> Server:
        """Begin with what is known of such servers."""
        known = preset_of(server.url)
        if known is None or server.profile.product:
            return server
        self._say("product", True, f"This is {known.title}.")
        return server.changed(profile=known.profile)

    def _transport(self, server: Server) -> None:
        place = origin(server.qido_root)
        if place.scheme == "http":
            if is_loopback(place.host):
                self._say("TLS", None, "Plain http, within this machine.")
            else:
                self._say("TLS", False, "Plain http: everybody on the way can read all; no credentials are sent.")
            return
        certificate = certificate_of(place, server.tls)
        if certificate is None:
            self._say("TLS", None, "Its certificate could not be looked at.")
        elif certificate.problem:
            issuer = f" It was issued by {certificate.issuer}." if certificate.issuer else ""
            self._say("TLS", False, f"Its certificate is not trusted: {certificate.problem}.{issuer}")
        else:
            self._say("TLS", True, f"Its certificate was issued by {certificate.issuer}, until {certificate.until}.")

    def _let_in(self, server: Server, root: Found) -> Server:
        kind = server.authentication.kind
        if root.is_open:
            if kind == "none":
                self._say("authentication", True, "It lets everybody in.")
            else:
                self._say("authentication", True, self._asked_of_strangers(server))
            return server
        asked_kind, text = authentication_asked(server, root.challenge)
        if kind != "none":
            self._say("authentication", False, f"{text} {root.error}")
            return server
        known = preset_of(server.url)
        if known is not None and known.ways[0] != "none":
            asked_kind = Authentication(known.ways[0])
        self._say("authentication", False, text)
        return server.changed(authentication=asked_kind) if asked_kind is not None else server

    def _asked_of_strangers(self, server: Server) -> str:
        """Return what a stranger would be asked for, who has no client certificate either."""
        stranger = Server(server.qido_root, tls=Tls(server.tls.ca_bundle))
        found = find_root(stranger, [stranger.url], self._cancel)
        if found.is_open:
            return "It also lets everybody in."
        asked = authentication_asked(server, found.challenge)[1] if found.challenge else "It lets not everybody in."
        return f"{asked} Yours is accepted."
