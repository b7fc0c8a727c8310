"""How clients find and write addresses."""

from __future__ import annotations

import urllib.error
from urllib.parse import quote, urlsplit

import pytest

from clients.conftest import Site
from clients.simple import NAMESPACE, links, logged_on


def test_client_that_takes_links_by_their_position(site: Site) -> None:
    with logged_on(site) as script:
        # The first link of a logon session is the way up, to the root of the API.
        assert links(script.logon)[0].attrib["Href"].endswith("/api/")

        # The second link of a reference to a repository is the repository.
        for reference in script.xml("/repositories"):
            repository = script.xml(links(reference)[1].attrib["Href"])
            assert repository.tag == f"{NAMESPACE}Repository"
            assert links(repository)[0].attrib["Type"] == "BackupServerReference"

        # The first of a backup is its repository, then comes its server.
        for backup in script.xml("/backups?format=Entity"):
            first, second = links(backup)[:2]
            assert script.xml(first.attrib["Href"]).attrib["Type"] == "RepositoryReference"
            assert script.xml(second.attrib["Href"]).attrib["Type"] == "BackupServerReference"

        # Of a backup file: backup, server, itself.
        files = list(script.xml("/backupFiles?format=Entity"))
        assert files
        for file in files:
            found = [script.xml(link.attrib["Href"]).attrib for link in links(file)[:3]]
            types = [one["Type"].removesuffix("Reference") for one in found]
            assert types == ["Backup", "BackupServer", "BackupFile"]
            assert found[2]["UID"] == file.attrib["UID"]

        # Jobs, sessions and task sessions begin with the server.
        for address in ("/jobs", "/backupSessions", "/backupTaskSessions"):
            items = list(script.xml(f"{address}?format=Entity"))
            assert items
            assert {links(item)[0].attrib["Type"] for item in items} == {"BackupServerReference"}


def test_client_that_follows_by_type_to_the_points_of_a_job(site: Site) -> None:
    def to(element: object, link_type: str) -> str:
        [found] = [x for x in links(element) if x.attrib.get("Type") == link_type]  # type: ignore[arg-type]
        return found.attrib["Href"]

    with logged_on(site) as script:
        jobs = script.xml(to(script.logon, "JobReferenceList"))
        [job] = [job for job in jobs if job.attrib["Name"] == "Sample Disk Backup"]
        sessions = script.xml(to(job, "BackupJobSessionReferenceList"))
        session = script.xml(to(sessions[-1], "BackupJobSession"))
        assert session.find(f"{NAMESPACE}Result").text == "Success"  # type: ignore[union-attr]
        task = script.xml(to(sessions[-1], "BackupTaskSessionReferenceList"))[0]
        point = script.xml(to(script.xml(to(task, "BackupTaskSession")), "VmRestorePoint"))
        assert point.tag == f"{NAMESPACE}VmRestorePoint"


def test_client_that_writes_whole_urns_into_paths(site: Site) -> None:
    with logged_on(site) as script:
        for collection in ("jobs", "repositories", "backupSessions", "restorePoints"):
            for reference in script.xml(f"/{collection}"):
                urn = reference.attrib["UID"]
                assert urn.startswith("urn:veeam:")
                for written in (urn, quote(urn, ""), urn.upper(), urn.rpartition(":")[2]):
                    assert script.xml(f"/{collection}/{written}").attrib["UID"] == urn
        server = script.xml("/backupServers")[0].attrib["UID"]
        assert len(script.xml(f"/backupServers/{server}/jobs")) == 2
        with pytest.raises(urllib.error.HTTPError) as refused:
            script.xml("/jobs/urn:veeam:Job:00000000-0000-4000-8000-000000000000")
        assert refused.value.code == 404
        refused.value.close()


def test_clients_that_write_addresses_as_they_like(site: Site) -> None:
    with logged_on(site) as script:
        for addresses in (
            ("/backupSessions", "/BACKUPSESSIONS", "/backupsessions/", "//BackupSessions//"),
            ("/jobs?format=Entity", "/Jobs/?Format=entity", "/jobs%3Fformat%3DEntity"),
            (
                "/query?type=Job&format=Entities",
                "/query/?type=job&format=entities",
                "/Query%3Ftype%3DJob%26format%3DEntities",
                "/query%3ftype=Job&format=Entities",
            ),
            (
                "/reports/summary/overview",
                "/Reports/Summary/Overview/",
                "/reports//summary/overview",
            ),
        ):
            roots = [script.xml(address) for address in addresses]
            assert len({root.tag for root in roots}) == 1, addresses
            named = [
                [one.attrib["UID"] for one in root.iter() if "UID" in one.attrib] for root in roots
            ]
            assert all(names == named[0] for names in named), addresses
        base = script.base.removesuffix("/api")
        assert script.xml(f"{base}/API/jobs").tag == f"{NAMESPACE}EntityReferences"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_addresses_are_given_back_as_the_client_reached_them(site: Site, scheme: str) -> None:
    base = site.http if scheme == "http" else site.https
    port = urlsplit(base).port
    with logged_on(site, base) as script:
        for name in ("127.0.0.1", "localhost"):
            root = script.xml(f"{scheme}://{name}:{port}/api/jobs?format=Entity")
            hrefs = [one.attrib["Href"] for one in root.iter() if "Href" in one.attrib]
            assert hrefs
            assert {urlsplit(href).netloc for href in hrefs} == {f"{name}:{port}"}
            assert {urlsplit(href).scheme for href in hrefs} == {scheme}
