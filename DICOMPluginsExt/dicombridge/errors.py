"""All errors that dicombridge raises on purpose.

::

    DicomBridgeError
    ├── UnreadableError       the file is not DICOM, is cut short, or contradicts itself
    ├── UnsupportedError      valid DICOM that this version does not map
    ├── GeometryError         the planes do not form the grid that was asked for
    ├── MissingReferenceError an object that is needed is not in the database
    ├── ExportError           the nodes cannot be written as asked
    ├── CancelledError        somebody asked to stop
    └── WebError              a DICOMweb server, or the way to it, did not do what was asked
        ├── UnreachableError      no connection, or it was lost
        ├── AuthenticationError   the server does not let us in, or credentials must not be sent there
        ├── RefusedError          the server answered with an error
        └── DamagedAnswerError    the answer is cut short, too large, or is not what it says

A message names the file or node, says what is wrong, and says what to do where something can be done.
Any other exception that leaves the library is a defect of the library.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "CancelledError",
    "DamagedAnswerError",
    "DicomBridgeError",
    "ExportError",
    "GeometryError",
    "MissingReferenceError",
    "RefusedError",
    "UnreachableError",
    "UnreadableError",
    "UnsupportedError",
    "WebError",
]


class DicomBridgeError(Exception):
    """Base of every error that the library raises on purpose."""


class UnreadableError(DicomBridgeError):
    """The file is not DICOM, is cut short, or contradicts itself.

    Parameters
    ----------
    path
        The file, as the caller named it.
    reason
        What is wrong, as the end of a sentence that starts with the path.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class UnsupportedError(DicomBridgeError):
    """The object is valid DICOM, but this version of dicombridge does not map it."""


class GeometryError(DicomBridgeError):
    """The planes do not form the regular grid that was asked for."""


class MissingReferenceError(DicomBridgeError):
    """An object that is needed is not in the database."""


class ExportError(DicomBridgeError):
    """The nodes cannot be written as asked; no file was left behind."""


class CancelledError(DicomBridgeError):
    """Somebody asked to stop; what was finished stays."""

    def __init__(self, message: str = "Cancelled.") -> None:
        super().__init__(message)


class WebError(DicomBridgeError):
    """A DICOMweb server, or the way to it, did not do what was asked.

    Parameters
    ----------
    message
        One sentence that names the server and never a secret.
    details
        What helps somebody who looks deeper, e.g. the body of the server's answer.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class UnreachableError(WebError):
    """There is no connection to the server, or it was lost."""


class AuthenticationError(WebError):
    """The server does not let us in, or credentials must not be sent where they would go.

    Parameters
    ----------
    message, details
        As of :class:`WebError`.
    needs
        Names of the secrets that are missing or were refused, e.g. ``("password",)``.
    challenge
        ``WWW-Authenticate`` of the answer, which says what the server wants.
    is_forbidden
        The server knows who asks, and does not allow this (403).
    """

    def __init__(
        self,
        message: str,
        details: str = "",
        needs: tuple[str, ...] = (),
        challenge: str = "",
        is_forbidden: bool = False,
    ) -> None:
        super().__init__(message, details)
        self.needs = needs
        self.challenge = challenge
        self.is_forbidden = is_forbidden


class RefusedError(WebError):
    """The server answered with an error.

    Parameters
    ----------
    message, details
        As of :class:`WebError`.
    status
        HTTP status code.
    retry_after
        Seconds that the server asks to wait, None where it does not say.
    """

    def __init__(self, message: str, details: str = "", status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, details)
        self.status = status
        self.retry_after = retry_after


class DamagedAnswerError(WebError):
    """The answer is cut short, larger than allowed, or is not what it says it is."""
