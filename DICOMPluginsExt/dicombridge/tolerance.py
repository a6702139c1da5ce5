"""Around damaged files: what pydicom remarks on their values stays inside, and every error names the file."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom.errors import BytesLengthException

from dicombridge.errors import DicomBridgeError, UnreadableError
from dicombridge.part10 import NeedsPydicom, TruncatedError

__all__ = ["DAMAGE", "naming", "quiet", "reading"]

DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What damaged values make pydicom and numpy raise; pydicom converts late, so nearly everything.

OSError is what it raises where an item ends in the middle of a tag.

Not ``Exception``: what a caller's progress function raises to cancel is for the caller.
"""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of pydicom and highdicom about odd values to ourselves; what matters is checked by us."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)\.")
        yield


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Turn whatever a damaged file does to pydicom and numpy into our error.

    Only for the half that makes values of a file: an exception in the half that makes nodes is our own defect.

    Raises
    ------
    UnreadableError
        Instead of any error that is not ours.
    """
    try:
        with quiet():
            yield
    except DicomBridgeError:
        raise
    except MemoryError as error:
        raise UnreadableError(file, "does not fit into the memory.") from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UnreadableError(file, f"is damaged or contradicts itself ({type(error).__name__}: {reason}).") from error


@contextmanager
def naming(files: Sequence[str]) -> Iterator[None]:
    """Let every error of ours name a file, the first one where it names none.

    Deep inside, e.g. in :mod:`dicombridge.geometry`, nobody knows of files.

    Raises
    ------
    UnreadableError
        Instead of an error of the light reader, or where the memory or the stack does not suffice.
    """
    first = files[0] if files else "files"
    try:
        yield
    except (NeedsPydicom, TruncatedError) as error:
        raise UnreadableError(first, f"is damaged: {error}.") from error
    except UnreadableError:
        raise
    except DicomBridgeError as error:
        if any(file in str(error) for file in files):
            raise
        error.args = (f"{first}: {error}",)  # not a new error: some say more than their text
        raise
    except MemoryError as error:
        raise UnreadableError(first, "does not fit into the memory.") from error
    except RecursionError as error:
        raise UnreadableError(first, "has sequences nested deeper than any real object.") from error
