"""Who vouches for a server's certificate."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any, NamedTuple

from dicombridge.web.addresses import Origin
from dicombridge.web.servers import Tls

__all__ = ["Certificate", "certificate_of"]

_SECONDS = 10.0


class Certificate(NamedTuple):
    """The issuer's name, the day until which it is good, and why it is not trusted ("" where it is)."""

    issuer: str
    until: str
    problem: str


def certificate_of(place: Origin, tls: Tls) -> Certificate | None:
    """Look at the certificate of a server; nothing but the handshake is sent. None where there is no handshake."""
    context = ssl.create_default_context(cafile=tls.ca_bundle or None)
    if tls.certificate:
        # Without it the certificate of the server is to be seen too, which is all that is wanted here.
        with suppress(OSError, ValueError):
            context.load_cert_chain(tls.certificate, tls.key or None, password=lambda: "")
    try:
        return _described(_handshake(place, context), "")
    except ssl.SSLCertVerificationError as error:
        return _untrusted(place, error.verify_message or "not trusted")
    except (OSError, ValueError):
        return None


def _untrusted(place: Origin, problem: str) -> Certificate | None:
    """Read a certificate that is not trusted, by trusting this very one for a moment."""
    try:
        text = ssl.get_server_certificate((place.host, place.port), timeout=_SECONDS)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=text)
        return _described(_handshake(place, context), problem)
    except (OSError, ValueError):
        return Certificate("", "", problem)


def _handshake(place: Origin, context: ssl.SSLContext) -> dict[str, Any]:
    with (
        socket.create_connection((place.host, place.port), timeout=_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=place.host) as secure,
    ):
        return dict(secure.getpeercert() or {})


def _described(certificate: dict[str, Any], problem: str) -> Certificate:
    names = {key: value for part in certificate.get("issuer", ()) for key, value in part}
    issuer = names.get("organizationName") or names.get("commonName") or "somebody without a name"
    common = names.get("commonName")
    full = f"{issuer} ({common})" if common and common != issuer else issuer
    return Certificate(full, str(certificate.get("notAfter", "")), problem)
