"""What a server has: searching, details of series, metadata, pictures.

================  ======================================================================================
``search``        patients, studies, series, instances, streamed; ``together`` asks several servers at once
``query``         what a query asks of a server with its profile; ``matching`` does what the server does not
``paging``        page by page, from any server; ``seen`` recognises what came before
``client``        dicomweb-client over our connection
``attributes``    attributes of the levels; DICOM JSON as plain values
``metadata``      headers without pixels, and their rows for a table
``referring``     which other series an object needs, from its metadata
``details``       what a series is
``pictures``      thumbnails by the server, or made here (``windowing``) from one instance (``single``)
================  ======================================================================================
"""

from __future__ import annotations

from dicombridge.web.catalogue.details import SeriesDetails, details
from dicombridge.web.catalogue.metadata import metadata, tag_rows
from dicombridge.web.catalogue.pictures import Thumbnail, thumbnails
from dicombridge.web.catalogue.referring import Reference
from dicombridge.web.catalogue.search import Instance, instances, search
from dicombridge.web.catalogue.together import Hit, search_all

__all__ = [
    "Hit",
    "Instance",
    "Reference",
    "SeriesDetails",
    "Thumbnail",
    "details",
    "instances",
    "metadata",
    "search",
    "search_all",
    "tag_rows",
    "thumbnails",
]
