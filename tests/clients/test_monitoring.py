"""Clients that look on: exporters of figures, and readers of long lists."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest

from clients.conftest import Site
from clients.simple import NAMESPACE, Script, links, logged_on


def pages(script: Script, address: str) -> Iterator[dict[str, Any]]:
    """Given the address of a query, return its pages by counting them."""
    number, count = 1, 1
    while number <= count:
        page = script.json(f"{address}&page={number}")
        count = page["PagingInfo"]["PagesCount"]
        assert page["PagingInfo"]["PageNum"] == number
        yield page
        number += 1


def exported(script: Script) -> dict[str, float]:
    """Given a script, return the figures that a dashboard shows."""
    figures: dict[str, float] = {}
    for page in pages(script, "/query?type=Repository&format=Entities&pageSize=1"):
        for found in page["Entities"]["Repositories"]["Repositories"]:
            figures[f"capacity{{{found['Name']}}}"] = found["Capacity"]
            figures[f"free{{{found['Name']}}}"] = found["FreeSpace"]
    address = "/query?type=BackupJobSession&format=Entities&sortDesc=CreationTime&pageSize=1"
    for page in pages(script, address):
        for session in page["Entities"]["BackupJobSessions"]["BackupJobSessions"]:
            begun, ended = (
                datetime.fromisoformat(session[name]) for name in ("CreationTimeUTC", "EndTimeUTC")
            )
            name = session["JobName"]
            figures.setdefault(f"seconds{{{name}}}", (ended - begun).total_seconds())
            results = {"Success": 0, "Warning": 1, "Failed": 2, "None": -1}
            figures.setdefault(f"result{{{name}}}", results[session["Result"]])
    for frame in script.json("/reports/summary")["Links"]:
        for name, value in script.json(frame["Href"]).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                figures[f"{frame['Name']}_{name}"] = value
    return figures


def test_exporter_of_figures(site: Site) -> None:
    with logged_on(site) as script:
        figures = exported(script)
    assert figures["overview_BackupServers"] == 1
    assert figures["overview_SuccessfulVmLastestStates"] >= 1
    assert figures["vms_overview_ProtectedVms"] >= 1
    assert figures["result{Sample Disk Backup}"] == 0
    assert figures["seconds{Sample Files Backup}"] >= 0
    [free] = [value for name, value in figures.items() if name.startswith("free")]
    [capacity] = [value for name, value in figures.items() if name.startswith("capacity")]
    assert 0 < free < capacity


def test_exporter_of_reports_in_xml(site: Site) -> None:
    with logged_on(site) as script:
        summary = script.xml("/reports/summary")
        frames = {link.attrib["Name"]: script.xml(link.attrib["Href"]) for link in links(summary)}
    assert set(frames) == {
        *("overview", "vms_overview", "job_statistics", "processed_vms", "repository"),
    }
    assert len(frames["processed_vms"].findall(f"{NAMESPACE}Day")) == 7
    for period in frames["repository"].iter(f"{NAMESPACE}Period"):
        sizes = {child.tag.removeprefix(NAMESPACE): child.text for child in period}
        used = int(sizes["Capacity"] or 0) - int(sizes["FreeSpace"] or 0)
        assert int(sizes["BackupSize"] or 0) == used


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_client_that_follows_the_links_of_pages(site: Site, scheme: str) -> None:
    wanted = quote('State=="Completed";Result>=Success', safe="")
    with logged_on(site, site.http if scheme == "http" else site.https) as script:
        whole = script.xml(f"/query?type=BackupTaskSession&pageSize=100&filter={wanted}")
        every = [ref.attrib["UID"] for ref in whole.iter(f"{NAMESPACE}Ref")]
        assert len(every) >= 2
        address = f"/query?type=BackupTaskSession&pageSize=1&filter={wanted}"
        seen: list[str] = []
        back: list[str] = []
        while address:
            page = script.xml(address)
            seen += [ref.attrib["UID"] for ref in page.iter(f"{NAMESPACE}Ref")]
            [paging] = page.findall(f"{NAMESPACE}PagingInfo")
            ways = {link.attrib["Rel"]: link.attrib["Href"] for link in links(paging)}
            address, last = ways.get("Next", ""), ways["Last"]
        assert seen == every
        address = last
        while address:
            page = script.xml(address)
            back = [ref.attrib["UID"] for ref in page.iter(f"{NAMESPACE}Ref")] + back
            [paging] = page.findall(f"{NAMESPACE}PagingInfo")
            ways = {link.attrib["Rel"]: link.attrib["Href"] for link in links(paging)}
            address = ways.get("Previous", "")
        assert back == every


def test_client_that_asks_for_what_failed_since_yesterday(site: Site) -> None:
    with logged_on(site) as script:
        for since in ("2020-01-01", "2020-01-01T00:00:00", "2020-01-01T00:00:00Z"):
            address = f'/query?type=BackupJobSession&filter=CreationTime>="{since}"'
            assert len(script.json(address)["Refs"]["Refs"]) >= 2, since
        for words in (
            "Result==Failed",
            "result==failed;jobtype==backup",
            "(Result==Failed,Result==Warning);State==Stopped",
        ):
            found = script.json(f"/query?type=BackupJobSession&filter={quote(words, safe='')}")
            assert found["Refs"]["Refs"] == []
