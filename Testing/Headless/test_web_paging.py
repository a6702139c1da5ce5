"""Results page by page, from servers that page as the standard says, and from those that do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.scripted_quirks import ROOT, Quirks, Studies, instance
from support.scripted_server import Scripted, scripted

from dicombridge import web


def server(one: Scripted, page_size: int = 20, **profile: Any) -> web.Server:
    return web.Server(one.url, profile=web.Profile(page_size=page_size, **profile))


def numbers(found: Any) -> list[int]:
    return [int(item["StudyInstanceUID"].rpartition(".")[2]) for item in found]


def asked(one: Scripted) -> list[tuple[str | None, str | None]]:
    return [(request.value("limit"), request.value("offset")) for request in one.requests]


def test_pages_are_asked_for_as_they_are_wanted() -> None:
    with scripted(instances=Studies(55)) as one:
        found = web.search(server(one))
        assert numbers(next(found) for _ in range(20)) == list(range(1, 21))
        assert asked(one) == [("20", None)]
        assert numbers(found) == list(range(21, 56))
        assert asked(one) == [("20", None), ("20", "20"), ("20", "40")]


@pytest.mark.parametrize("empty_204", [True, False])
@pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 60])
def test_each_result_comes_once(count: int, empty_204: bool) -> None:
    with scripted(Quirks(empty_204=empty_204), Studies(count)) as one:
        assert numbers(web.search(server(one))) == list(range(1, count + 1))
        assert len(one.requests) == count // 20 + 1


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [
        (5, 0, range(1, 6)),
        (25, 0, range(1, 26)),
        (5, 18, range(19, 24)),
        (None, 45, range(46, 51)),
        (10, 45, range(46, 51)),
        (10, 60, range(0)),
        (0, 0, range(0)),
    ],
)
def test_limit_and_offset(limit: int | None, offset: int, expected: range) -> None:
    with scripted(instances=Studies(50)) as one:
        assert numbers(web.search(server(one), limit=limit, offset=offset)) == list(expected)
        assert len(one.requests) <= 2


def test_limit_and_offset_count_what_matches() -> None:
    """Also where filters are done here, so that the server's counting is of no use."""
    many = [instance(number) for number in range(1, 61)]
    for quirks in (Quirks(), Quirks(ignored=("StudyDescription",))):
        with scripted(quirks, many) as one:
            found = web.search(server(one), StudyDescription="Head", limit=4, offset=6)
            assert numbers(found) == [14, 16, 18, 20]


@pytest.mark.parametrize("count", [1, 20, 21, 150, 333])
def test_a_server_that_ignores_the_offset(count: int) -> None:
    """dicomweb-client never ends here."""
    with scripted(Quirks(ignores_offset=True), Studies(count)) as one:
        assert numbers(web.search(server(one))) == list(range(1, count + 1))
        assert len(one.requests) <= 6


@pytest.mark.parametrize("count", [1, 20, 21, 150])
def test_a_server_that_ignores_both(count: int) -> None:
    with scripted(Quirks(ignores_offset=True, ignores_limit=True), Studies(count)) as one:
        assert numbers(web.search(server(one))) == list(range(1, count + 1))
        assert len(one.requests) <= 3


def test_a_server_that_ignores_the_offset_and_has_a_limit_of_its_own_is_told() -> None:
    told: list[str] = []
    with scripted(Quirks(ignores_offset=True, most=50), Studies(90)) as one:
        assert numbers(web.search(server(one), told=told.append)) == list(range(1, 51))
        assert len(one.requests) <= 6
    assert len(told) == 1
    assert "gives no more than 50 results" in told[0]


@pytest.mark.parametrize("most", [10, 30, 100])
@pytest.mark.parametrize("warns", [True, False])
def test_a_server_with_a_limit_of_its_own_below_what_is_asked_for(warns: bool, most: int) -> None:
    """A page is shorter than asked for, and yet is not the last."""
    with scripted(Quirks(most=most, warns=warns), Studies(250)) as one:
        assert numbers(web.search(server(one, 200))) == list(range(1, 251))


def test_an_odd_limit_is_seen_by_its_warning() -> None:
    with scripted(Quirks(most=37, warns=True), Studies(100)) as one:
        assert numbers(web.search(server(one, 200))) == list(range(1, 101))


def test_a_limit_that_the_server_refuses_is_lowered() -> None:
    with scripted(Quirks(most=200, refuses_more=True), Studies(450)) as one:
        assert numbers(web.search(server(one, 1000))) == list(range(1, 451))


def test_results_that_move_while_they_are_read_come_once() -> None:
    with scripted(Quirks(shifts=3), Studies(70)) as one:
        found = numbers(web.search(server(one)))
    assert len(found) == len(set(found))
    assert set(found) >= set(range(1, 61))


def test_the_largest_offset_of_a_server_is_told() -> None:
    told: list[str] = []
    with scripted(instances=Studies(100)) as one:
        found = numbers(web.search(server(one, last_offset=40), told=told.append))
    assert found == list(range(1, 61))
    assert told == [f"{one.url} gives no more than 60 results. Narrow the search to see the others."]


def test_a_profile_that_says_there_are_no_pages() -> None:
    with scripted(Quirks(ignores_offset=True), Studies(90)) as one:
        assert numbers(web.search(server(one, pages=False))) == list(range(1, 91))
        assert all(offset is None for _, offset in asked(one))


@pytest.mark.parametrize("profile", [{}, {"pages": False}, {"pages": True}])
@pytest.mark.parametrize(("limit", "offset"), [(5, 10), (None, 45), (30, 25), (5, 60)])
def test_results_are_passed_over_here_where_the_server_does_not(
    profile: dict[str, Any], limit: int | None, offset: int
) -> None:
    """A window that asks for the next results must not get the first ones again."""
    told: list[str] = []
    with scripted(Quirks(ignores_offset=not profile.get("pages")), Studies(53)) as one:
        found = web.search(server(one, **profile), limit=limit, offset=offset, told=told.append)
        assert numbers(found) == list(range(1, 54))[offset:][:limit]
        assert len(one.requests) <= 4
    assert told == []


def test_pages_of_alternatives_do_not_repeat() -> None:
    both = [instance(number, 1, 1, Modality="CT") for number in range(1, 41)]
    both += [instance(number, 2, 1, Modality="MR") for number in range(21, 61)]
    with scripted(instances=both) as one:
        assert sorted(numbers(web.search(server(one), Modality=["CT", "MR"]))) == list(range(1, 61))


def test_memory_is_flat_and_the_first_page_comes_at_once() -> None:
    """20,000 studies are listed in a process of its own, whose memory is looked at."""
    code = (
        "import sys, resource\n"
        "from dicombridge import web\n"
        "found = web.search(web.Server(sys.argv[1], profile=web.Profile(page_size=500)))\n"
        "first = next(found)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "count = 1 + sum(1 for _ in found)\n"
        "print(first['StudyInstanceUID'], count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    plugins = Path(__file__).parents[2] / "DICOMPluginsExt"
    with scripted(instances=Studies(20_000)) as one:
        done = subprocess.run(
            [sys.executable, "-c", code, one.url], cwd=plugins, capture_output=True, text=True, check=True, timeout=120
        )
        assert len(one.requests) == 41
    first, count, kilobytes = done.stdout.split()
    assert (first, count) == (f"{ROOT}.1", "20000")
    assert int(kilobytes) < 8_000, "a list of them would take 60 MB"
