"""dicomweb-client over our connection: its addresses and parameters, our requests.

Its own requests lose what is needed here (headers with warnings, bodies of errors, a limit on memory, cancelling), and
it writes ``*`` and ``,`` as ``%2A`` and ``%2C``, which Orthanc's plugin 1.7 does not decode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from dicomweb_client.web import DICOMwebClient

from dicombridge.errors import DamagedAnswerError
from dicombridge.web.addresses import check_uid
from dicombridge.web.connection import DICOM_JSON, Connection

__all__ = ["Page", "Searcher", "query_string"]

_UNCHANGED = "*?,:/@!$'()~"
"""Characters that have no meaning within a query's value, and that servers understand best as they are."""
MOST_OF_A_PAGE = 256 << 20


class Page:
    """Results of one request, and what the server said beside them."""

    def __init__(self, items: Sequence[Mapping[str, Any]], warning: str) -> None:
        self.items = items
        self.warning = warning

    @property
    def says_more(self) -> bool:
        """Whether the server says that there are more results than it gave (PS3.18 8.3.4.4)."""
        return bool(re.search(r"additional results|more results|remaining", self.warning, re.IGNORECASE))


class Searcher:
    """QIDO-RS and metadata of one server.

    Parameters
    ----------
    connection
        Through which everything goes.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        server = connection.server
        self._qido = _Client(connection, server.qido_root)
        self._wado = self._qido if server.wado_root == server.qido_root else _Client(connection, server.wado_root)

    def page(
        self,
        level: str,
        parameters: Iterable[tuple[str, str]],
        study: str | None = None,
        series: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Page:
        """Ask for one page of results.

        Raises
        ------
        WebError
            The server cannot be reached, refuses, or answers with something else than results.
        """
        client = self._qido
        given: dict[str, Any] = {}
        for name, value in parameters:
            given.setdefault(name, []).append(value)
        if level == "study":
            items = client.search_for_studies(limit=limit, offset=offset, search_filters=given)
        elif level == "series":
            items = client.search_for_series(study, limit=limit, offset=offset, search_filters=given)
        elif level == "instance":
            items = client.search_for_instances(study, series, limit=limit, offset=offset, search_filters=given)
        else:
            paging = {"limit": limit, "offset": offset}
            given |= {name: value for name, value in paging.items() if value is not None}
            items = client._http_get_application_json(f"{client.base_url}/patients", params=given)
        return Page(items, client.warning)

    def metadata(self, study: str, series: str, instance: str | None = None) -> list[dict[str, Any]]:
        """Return the metadata of a series' instances, or of one of them, as the server's DICOM JSON."""
        check_uid(study, "Study Instance UID")
        check_uid(series, "Series Instance UID")
        if instance is None:
            return list(self._wado.retrieve_series_metadata(study, series))
        try:
            return [self._wado.retrieve_instance_metadata(study, series, check_uid(instance, "SOP Instance UID"))]
        except IndexError:  # an answer without anything in it
            return []


class _Client(DICOMwebClient):
    """The client with another way to ask."""

    def __init__(self, connection: Connection, root: str) -> None:
        super().__init__(url=root, session=connection.session, permissive_uid=True)
        self.set_http_retry_params(retry=False)
        self._connection = connection
        self.warning = ""

    def _http_get_application_json(
        self,
        url: str,
        params: dict[str, Any] | None = None,
        stream: bool = False,
        get_remaining: bool = False,
    ) -> list[dict[str, dict[str, Any]]]:
        """Ask through our connection; 204 and an empty body are no results."""
        query = query_string(params or {})
        with self._connection.get(url + query, accept=DICOM_JSON, encoding="gzip") as answer:
            self.warning = answer.headers.get("Warning", "") if answer.status == 200 else ""
            found = answer.json(MOST_OF_A_PAGE)
        if found is None:
            return []
        items = [found] if isinstance(found, dict) else found
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise DamagedAnswerError(f"{self._connection.server}: the answer is JSON, but not a list of DICOM objects.")
        return items


def query_string(parameters: Mapping[str, Any]) -> str:
    """Return parameters as they follow the path of an address.

    >>> query_string({"PatientName": "A^B*", "limit": 2, "includefield": ["a", "b"]})
    '?PatientName=A%5EB*&limit=2&includefield=a&includefield=b'
    """
    pairs = []
    for name, value in parameters.items():
        values = value if isinstance(value, list | tuple) else [value]
        pairs += [f"{quote(name, safe='')}={quote(str(one), safe=_UNCHANGED)}" for one in values]
    return f"?{'&'.join(pairs)}" if pairs else ""
