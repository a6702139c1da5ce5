"""What a retrieval tells while it runs, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["RetrieveReport", "TransferProgress"]


@dataclass(frozen=True)
class TransferProgress:
    """How far a transfer is.

    Attributes
    ----------
    bytes, total_bytes
        Bytes that are there or under way; how many it will be, estimated from the instances that are there, None where
        nobody knows.
    instances, total_instances
        Instances that are there, whole; how many there should be.
    bytes_per_second, seconds_left
        Over the last seconds.
    """

    bytes: int
    total_bytes: int | None
    instances: int
    total_instances: int | None
    bytes_per_second: float
    seconds_left: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class RetrieveReport:
    """What came of a retrieval.

    Attributes
    ----------
    verified
        SOP Instance UIDs of the instances that are there, whole; also those that were there before.
    missing
        UIDs of those that the server lists and does not have.
    failed
        UIDs of those that could not be retrieved whole, with the reason.
    files
        The files of ``verified``.
    bytes
        Their size.
    fetched
        How many of them this retrieval fetched; the others were there.
    listed
        Whether it could be compared with what the server says that there is: its list, or its counts.
    manifest
        File with a line of JSON for each instance, with its SHA-256.
    notes
        What a person should know, in sentences.
    """

    verified: tuple[str, ...]
    missing: tuple[str, ...]
    failed: dict[str, str]
    files: tuple[Path, ...]
    bytes: int
    fetched: int
    listed: bool
    manifest: Path
    notes: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Whether all that the server lists is there."""
        return self.listed and not self.missing and not self.failed

    @property
    def summary(self) -> str:
        """One line for a person.

        >>> report = RetrieveReport(("1.2", "1.3"), ("1.4",), {}, (), 0, 2, True, Path("m"))
        >>> report.summary
        '2 of 3 verified, 1 missing'
        """
        there, missing, failed = len(self.verified), len(self.missing), len(self.failed)
        if not self.listed:
            text = f"{there} verified, the server does not say of how many"
        else:
            text = f"{there} of {there + missing + failed} verified"
        return text + (f", {missing} missing" if missing else "") + (f", {failed} failed" if failed else "")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        values["files"] = [str(path) for path in self.files]
        return {**values, "manifest": str(self.manifest), "complete": self.complete, "summary": self.summary}
