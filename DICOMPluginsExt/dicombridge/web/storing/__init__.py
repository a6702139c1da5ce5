"""Storing: files, folders, datasets and nodes to a server, with a result for each instance. PS3.18 10.5.

==================  ====================================================================================
``job``             a whole store: batches over a few connections, progress, cancel, the check afterwards
``items``           what there is to store, one item an instance
``body``            the multipart message of a batch, read from the disk while it is sent
``sending``         one batch: sent, its answer read, repeated or split where that helps
``answers``         what servers answer, as JSON or XML, in the ways they do
``reasons``         what codes mean: the one table
``looking``         what a file itself tells about why it was refused
``checking``        asking the server what it has
``deidentifying``   removing who it is of, PS3.15 E
``folders``         a folder as the server
``report``          what became of each instance
==================  ====================================================================================
"""

from __future__ import annotations

from dicombridge.web.storing.deidentifying import Deidentification
from dicombridge.web.storing.job import store
from dicombridge.web.storing.report import Outcome, StoreReport, StoringCancelledError

__all__ = ["Deidentification", "Outcome", "StoreReport", "StoringCancelledError", "store"]
