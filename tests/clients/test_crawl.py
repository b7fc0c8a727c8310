"""Every link of a real Holdfast leads to what it says."""

from __future__ import annotations

import httpx
import pytest

from clients.conftest import Site
from holdfast.schema.roles import Role
from support.crawler import Crawl
from support.managers import FORMATS


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_every_link_of_a_running_holdfast_leads_to_what_it_says(
    site: Site, scheme: str, form: str
) -> None:
    base = site.http if scheme == "http" else site.https
    administrator = frozenset({Role.PORTAL_ADMINISTRATOR})
    async with httpx.AsyncClient(verify=site.trust, timeout=60) as client:
        crawl = Crawl(client, base, form, administrator)
        await crawl.run(site.user, site.password)
    assert not crawl.faults, "\n".join(crawl.faults)
    assert crawl.types >= {
        *("Job", "JobReference", "BackupServer", "Repository", "BackupJobSession"),
        *("BackupTaskSession", "Backup", "BackupFile", "RestorePoint", "VmRestorePoint"),
    }
    assert len(crawl.documents) > 150
    assert len(crawl.actions) > 20
