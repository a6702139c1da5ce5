"""Examination of objects that are one file each: one loadable a file, told apart by what their headers say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydicom.dataset import Dataset

from dicombridge.errors import DicomBridgeError
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.text import one_line
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["Told", "examine_single_files"]

SOP_CLASS = "0008,0016"
SERIES_INSTANCE_UID = "0020,000E"
SERIES_NUMBER = "0020,0011"
SERIES_DESCRIPTION = "0008,103E"
INSTANCE_NUMBER = "0020,0013"


class Told(NamedTuple):
    """What a person is told of an object.

    Attributes
    ----------
    label
        Tells it from others of its series; may be empty.
    tooltip, warning
        As a loadable has them.
    """

    label: str
    tooltip: str
    warning: str = ""


def examine_single_files(
    kind: str,
    files: Sequence[str],
    database: Database,
    otherwise: str,
    describe: Callable[[Dataset], Told],
) -> list[Loadable]:
    """Offer one loadable for each file of a kind's classes; bad files give a warning, never an exception.

    Parameters
    ----------
    kind
        Name of its row.
    files, database
        As every ``examine`` has them.
    otherwise
        Name of an object whose series has no description.
    describe
        Given the header, returns what a person is told of the object.
    """
    with quiet():
        wanted = [file for file in files if database.fileValue(file, SOP_CLASS) in kind_named(kind).sop_classes]
        pairs = [_loadable(kind, file, database, otherwise, describe) for file in wanted]
    if len(pairs) > 1:
        for number, (loadable, label) in enumerate(pairs, start=1):
            label = label or database.fileValue(loadable.files[0], INSTANCE_NUMBER) or str(number)
            loadable.name = f"{loadable.name} [{label}]"
    return [loadable for loadable, _ in pairs]


def _loadable(
    kind: str, file: str, database: Database, otherwise: str, describe: Callable[[Dataset], Told]
) -> tuple[Loadable, str]:
    from dicombridge.multiframe import read_header
    from dicombridge.references import instances_needed, references_of

    number = database.fileValue(file, SERIES_NUMBER)
    description = database.fileValue(file, SERIES_DESCRIPTION) or otherwise
    loadable = Loadable(
        files=[file],
        name=one_line(f"{number}: {description}" if number else description),
        tooltip=otherwise,
        selected=True,
        confidence=kind_named(kind).confidence,
        kind=kind,
        seriesInstanceUID=database.fileValue(file, SERIES_INSTANCE_UID),
    )
    label = ""
    try:
        header = read_header(file)
        loadable.referencedInstanceUIDs = instances_needed(references_of(header), database)
        label, loadable.tooltip, loadable.warning = describe(header)
    except DicomBridgeError as error:
        loadable.warning = str(error)
    except ImportError:
        raise  # a package is too old or missing: that is for the plugin to say, and no fault of the file
    except Exception as error:  # examination of all series would end with an exception of one
        loadable.warning = f"{file}: its header cannot be understood ({type(error).__name__}: {error})."
    return loadable, label
