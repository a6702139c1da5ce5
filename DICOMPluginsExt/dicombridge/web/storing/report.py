"""What became of each instance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dicombridge.errors import CancelledError, DicomBridgeError
from dicombridge.web.storing.items import Item

__all__ = ["STATES", "Outcome", "StoreReport", "StoringCancelledError"]

STATES = ("stored", "duplicate", "failed", "unconfirmed", "skipped")
"""``duplicate``: it was there already. ``unconfirmed``: the server said nothing of it and does not show it.
``skipped``: a file that is no DICOM object, or a copy of another."""


@dataclass(frozen=True)
class Outcome:
    """What became of one instance.

    Attributes
    ----------
    uid
        SOP Instance UID; empty for a file that is no DICOM object.
    path
        What the caller gave: the path, or a description of a dataset or node.
    state
        One of :data:`STATES`.
    reason
        Why, as a sentence; of a stored instance the server's warning, or empty.
    """

    uid: str
    path: str
    state: str
    reason: str = ""

    def to_json(self) -> dict[str, str]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass
class StoreReport:
    """What became of everything that was to be stored.

    Attributes
    ----------
    stored
        SOP Instance UIDs of what was stored.
    duplicates
        Those that the server had already.
    failed
        SOP Instance UID, or path where there is none -> why it was not stored.
    unconfirmed
        SOP Instance UID -> why nobody knows whether it is there.
    warnings
        SOP Instance UID -> what the server, or the check, has to say of what is stored.
    skipped
        Path -> why it was not sent, e.g. because it is no DICOM file.
    checked
        SOP Instance UIDs of what was found when the server was asked for it afterwards.
    seconds, bytes
        How long it took, and how much was sent.
    """

    stored: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unconfirmed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    checked: list[str] = field(default_factory=list)
    seconds: float = 0.0
    bytes: int = 0

    def __post_init__(self) -> None:
        self._left: dict[str, Item] = {}
        self._again: Callable[..., StoreReport] | None = None

    @property
    def total(self) -> int:
        """Number of instances, without what was skipped."""
        return len(self.stored) + len(self.duplicates) + len(self.failed) + len(self.unconfirmed)

    @property
    def complete(self) -> bool:
        """Whether everything is on the server."""
        return not self.failed and not self.unconfirmed

    @property
    def summary(self) -> str:
        """The result in a line.

        >>> StoreReport(stored=["1.2"], failed={"1.3": "No."}).summary
        '1 of 2 stored, 1 failed'
        """
        parts = [f"{len(self.stored)} of {self.total} stored"]
        for name, label in (
            ("duplicates", "already there"),
            ("failed", "failed"),
            ("unconfirmed", "not confirmed"),
            ("warnings", "with warnings"),
            ("checked", "found when asked for"),
            ("skipped", "skipped"),
        ):
            if count := len(getattr(self, name)):
                parts.append(f"{count} {label}")
        return ", ".join(parts)

    def add(self, outcome: Outcome) -> None:
        """Add what became of an instance, or of a file that is none."""
        key = outcome.uid or outcome.path
        if outcome.state == "stored":
            self.stored.append(key)
            if outcome.reason:
                self.warn(key, outcome.reason)
        elif outcome.state == "duplicate":
            self.duplicates.append(key)
        else:
            where = {"failed": self.failed, "unconfirmed": self.unconfirmed, "skipped": self.skipped}[outcome.state]
            where[key] = outcome.reason

    def warn(self, uid: str, words: str) -> None:
        """Add what is to be said of a stored instance."""
        self.warnings[uid] = " ".join(filter(None, (self.warnings.get(uid), words)))

    def without_failures(self) -> StoreReport:
        """Return a copy without what :meth:`again` sends anew."""
        copy = StoreReport(**{one.name: getattr(self, one.name) for one in fields(self)})
        for name in ("stored", "duplicates", "checked"):
            setattr(copy, name, list(getattr(self, name)))
        for name in ("failed", "unconfirmed", "warnings", "skipped"):
            kept = {key: words for key, words in getattr(self, name).items() if key not in self._left}
            setattr(copy, name, kept)
        return copy

    def keep(self, items: Iterable[Item], again: Callable[..., StoreReport]) -> None:
        """Keep what :meth:`again` needs: the items that are not on the server, and how to store them."""
        self._left = {item.uid: item for item in items}
        self._again = again

    def again(self, **changes: Any) -> StoreReport:
        """Store once more what failed or was not confirmed, and nothing else.

        Parameters
        ----------
        **changes
            Arguments of :func:`dicombridge.web.store` that are to be other than before, e.g. a new ``cancel``.

        Returns
        -------
        StoreReport
            A new report of everything; this one stays as it is.

        Raises
        ------
        DicomBridgeError
            The report was read from somewhere and has nothing to send.
        """
        if self._again is None:
            raise DicomBridgeError("This report does not hold what failed; store it anew.")
        return self._again(self, list(self._left.values()), **changes)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"summary": self.summary, "complete": self.complete}


class StoringCancelledError(CancelledError):
    """Storing was cancelled.

    Attributes
    ----------
    report
        What had become of each instance until then; ``report.again()`` goes on with the rest.
    """

    def __init__(self, report: StoreReport) -> None:
        super().__init__(f"Cancelled: {report.summary}.")
        self.report = report
