"""A client that starts a job and waits until its work is done."""

from __future__ import annotations

import time
import urllib.error
from typing import Any

import pytest

from clients.conftest import Site
from clients.simple import NAMESPACE, Script, links, logged_on

LIMIT = 120.0


def waited_for(script: Script, address: str, member: str, value: str) -> dict[str, Any]:
    """Given an address, ask until the member of what is there has the value; return all of it."""
    end = time.monotonic() + LIMIT
    while True:
        found: dict[str, Any] = script.json(address)
        if found[member] == value:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.2)


def test_client_that_starts_a_job_and_follows_its_task(site: Site) -> None:
    with logged_on(site) as script:
        [job] = script.json('/query?type=Job&filter=Name=="Sample%20Files%20Backup"')["Refs"][
            "Refs"
        ]
        entity = script.json(f"{job['Href']}?format=Entity")
        [start] = [link["Href"] for link in entity["Links"] if link["Rel"] == "Start"]
        with script.send("POST", start, "application/json", b"") as answer:
            assert answer.status == 202
            location = answer.headers["Location"]
        task = waited_for(script, location, "State", "Finished")
        assert task["TaskId"] == "task-1"
        assert (task["Operation"], task["Result"]) == (
            "StartJob",
            {"Message": "Ok", "Success": True},
        )
        [related] = [link for link in task["Links"] if link["Rel"] == "Related"]
        assert related["Type"] == "BackupJobSession"
        session = waited_for(script, related["Href"], "State", "Stopped")
        assert (session["Result"], session["Progress"]) == ("Success", 100)
        assert session["JobUid"] == job["UID"]
        assert session["Name"].startswith("Sample Files Backup@")

        # What the session made is there, and so is the task until it is deleted.
        points = [link for link in session["Links"] if link["Rel"] == "Related"]
        assert script.json(points[0]["Href"])["Type"] == "RestorePointReference"
        assert [one["TaskId"] for one in script.json("/tasks")["Tasks"]] == ["task-1"]
        script.send("DELETE", "/tasks/task-1").close()
        assert script.json("/tasks")["Tasks"] == []


def test_client_that_works_in_xml(site: Site) -> None:
    with logged_on(site) as script:
        jobs = script.xml("/jobs?format=Entity")
        [job] = [job for job in jobs if job.attrib["Name"] == "Sample Disk Backup"]
        [switch] = [x for x in links(job) if x.attrib["Rel"] == "ToggleScheduleEnabled"]
        shown = []
        for _ in range(2):
            task = script.xml(switch.attrib["Href"], "POST")
            assert task.tag == f"{NAMESPACE}Task"
            waited_for(script, task.attrib["Href"], "State", "Finished")
            entity = script.xml(f"{job.attrib['Href']}")
            shown.append(entity.findtext(f"{NAMESPACE}ScheduleEnabled"))
        assert shown == ["false", "true"]


def test_tasks_are_those_of_the_logon_session(site: Site) -> None:
    with logged_on(site) as first, logged_on(site) as second:
        server = first.json("/backupServers")["Refs"][0]["Href"]
        task = first.json(f"{server}?action=collect", "POST")
        waited_for(first, task["Href"], "State", "Finished")
        with pytest.raises(urllib.error.HTTPError) as refused:
            second.json(task["Href"])
        assert refused.value.code == 404
        refused.value.close()
        again = second.json(f"{server}?action=COLLECT", "POST")
        assert (task["TaskId"], again["TaskId"]) == ("task-1", "task-1")
