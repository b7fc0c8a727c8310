"""A client that knows one address, logs on by its links, and follows every link there is.

What a link must lead to is written down here as the API documents it; nothing of that is taken
from the product.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from contract.all_calls import DOCUMENTED, Documented, product_call
from holdfast.schema.roles import Role
from schema.expected_further_types import FURTHER_DECLARED
from schema.expected_types import DECLARED
from support.documents import json_of, local, parsed
from support.managers import FORMATS, TOKEN

FOLLOWED = {
    *("Up", "Down", "Alternate", "Related", "Download"),
    *("First", "Previous", "Next", "Last"),
}
PAGES = {"First", "Previous", "Next", "Last"}
OTHER_METHODS = {"Edit": "PUT", "Delete": "DELETE"}

#: Types of links whose target has a root of another name.
ROOTS = {
    "CatalogVmRestorePointList": "CatalogVmRestorePoints",
    "Credentials": "CredentialsInfo",
    "CredentialsList": "CredentialsInfoList",
    "EnterpriseAccountHierarchyScopeList": "EnterpriseAccountHierarchyScopes",
    "EnterpriseAccountInRoleList": "EnterpriseAccountInRoleList",
    "PasswordKey": "PasswordKeyInfo",
    "PasswordKeyList": "PasswordKeyInfoList",
    "NasJob": "NASJob",
    "NasObject": "NASObject",
    "QueryService": "QuerySvc",
    "LookupService": "LookupSvc",
    "AgentsService": "Agents",
    "NasService": "NASService",
    "Report": "SummaryReport",
    "AgentRestorePointMountList": "AgentRestorePointMounts",
    "VmCdpReplicaList": "VmCdpReplicas",
    "VmReplicaPointMountList": "VmReplicaPointMounts",
    "VmRestorePointMountList": "VmRestorePointMounts",
    "ObjectInJobList": "ObjectsInJob",
    "LogonSessionList": "LogonSessions",
    "HierarchyItemList": "HierarchyItems",
    "DirectoryEntry": "FileSystemEntry",
    "FileEntry": "FileSystemEntry",
    "FileSystemItems": "FileSystemEntry",
    "DirectoryEntryList": "FileSystemEntries",
    "FileEntryList": "FileSystemEntries",
    "FileSystemItemsList": "FileSystemEntries",
    "FreeLicenseCounters": "CloudTenantFreeLicenseCounters",
}
#: Links that are typed otherwise on the wire than what they lead to: by their ends.
MISTYPED = {
    ("BackupJobSession", r"/systemSessions/[^/?]+\?format=Entity"): "SystemSession",
    ("BackupJobSessionList", r"/systemSessions\?format=Entity"): "SystemSessions",
    ("CatalogVm", "/catalog/vms/[^/?]+"): "EntityRef",
    ("CloudTenantReference", "/cloud/hardwarePlans/[^/?]+/tenants"): "CloudTenants",
    ("Job", r"/nas/jobs/[^/?]+\?format=Entity"): "NASJob",
    ("Job", r"/agents/jobs/[^/?]+\?format=Entity"): "AgentBackupJob",
    ("JobList", r"/agents/jobs\?format=Entity"): "AgentBackupJobs",
    ("JobList", r"/nas/jobs\?format=Entity"): "NASJobs",
    ("ObjectInJobList", "/agents/jobs/[^/?]+/includes"): "ObjectsInAgentBackupJob",
    ("RestorePointList", r"/agents/backupFiles\?format=Entity"): "BackupFiles",
}
#: Types of links that are without a Name on the wire.
NAMELESS = {
    *("CatalogVm", "CatalogVmReference", "CatalogVmRestorePoint"),
    *("EnterpriseAccount", "EnterpriseAccountReference"),
    *("EnterpriseRole", "EnterpriseRoleReference"),
}
#: Types of links that delete and have a Type.
TYPED_DELETES = {
    *("BackupServerReference", "Credentials", "PasswordKey"),
    "EnterpriseAccountHierarchyScope",
}
#: What the query service leads to although no list of queries has it, and whose readers may ask.
UNLISTED_QUERIES = {"/query?type=ExternalRepository": "/externalRepositories"}
FRAMES = {
    "OverviewReportFrame",
    "VmsOverviewReportFrame",
    "JobStatisticsReportFrame",
    "ProcessedVmsReportFrame",
    "RepositoryReportFrame",
}
_TYPES = DECLARED | FURTHER_DECLARED


_URI = re.compile(r"(?:[A-Za-z0-9._~:/?#@!$&'()*+,;=\[\]-]|%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True)
class FoundLink:
    """A link as it stands in a document; `rel` is ``self`` for the Href of an item."""

    rel: str
    href: str
    name: str | None
    type: str | None


@dataclass
class Document:
    """What a crawler keeps of a document: its name and all links anywhere in it.

    `root` is None when the document does not tell, as JSON does not always.
    """

    root: str | None
    name: str | None
    links: list[FoundLink]
    items: int


@dataclass
class Crawl:
    """The crawl of one account in one format.

    `logged_on` is called when it has logged on. `session` is the address of its logon session.
    `faults` are sentences; none is what is wanted.
    """

    client: httpx.AsyncClient
    base: str
    form: str
    roles: frozenset[Role]
    logged_on: Callable[[], Awaitable[None]] | None = None
    session: str = ""
    documents: dict[str, Document] = field(default_factory=dict)
    actions: set[tuple[str, str]] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    _waiting: deque[str] = field(default_factory=deque)
    _leading: list[tuple[str, FoundLink]] = field(default_factory=list)

    async def run(self, name: str, password: str) -> None:
        """Given credentials, log on from the entry point, follow everything, and log off."""
        entry = f"{self.base}/"
        found = await self._get(entry)
        assert found.root == "EnterpriseManager"
        create = next(link for link in found.links if link.href.endswith("?v=latest"))
        answer = await self.client.post(create.href, auth=(name, password), headers=self._accept)
        assert answer.status_code == 201, answer.text
        self.client.cookies.clear()
        self.client.headers[TOKEN] = answer.headers[TOKEN]
        if self.logged_on is not None:
            await self.logged_on()
        session = read_document(answer)
        assert session.root == "LogonSession"
        [self.session] = {link.href for link in session.links if link.rel == "Delete"}
        self._keep(create.href, session)
        while self._waiting:
            href = self._waiting.popleft()
            if href not in self.documents:
                self._keep(href, await self._get(href))
        for source, link in self._leading:
            self._check_target(source, link)
        assert (await self.client.delete(self.session)).status_code == 204
        assert (await self.client.get(self.session)).status_code == 401

    @property
    def _accept(self) -> dict[str, str]:
        return FORMATS[self.form]

    async def _get(self, href: str) -> Document:
        answer = await self.client.get(href, headers=self._accept)
        if answer.status_code != 200:
            self.faults.append(f"GET {href}: {answer.status_code} {answer.text[:200]}")
            return Document(None, None, [], 0)
        return read_document(answer)

    def _keep(self, href: str, document: Document) -> None:
        self.documents[href] = document
        self.see(href, document.links)
        if document.items > 1 and (paged := _with_small_pages(href)) is not None:
            self._waiting.append(paged)

    def see(self, source: str, links: Iterable[FoundLink]) -> None:
        """Given the links of a document, check what they promise; follow those that are read."""
        for link in links:
            if not link.href.startswith(f"{self.base}/"):
                self.faults.append(f"{source}: {link.rel} leads away, to {link.href}")
            elif not _URI.fullmatch(link.href):
                self.faults.append(f"{source}: {link.rel} is no URI: {link.href}")
            elif link.rel in FOLLOWED or link.rel == "self":
                self._follow(source, link)
            elif link.rel.isalpha():  # else it is made-up text in place of one
                self._check_action(source, link)

    def _follow(self, source: str, link: FoundLink) -> None:
        calls = self._calls("GET", link.href)
        for query, collection in UNLISTED_QUERIES.items():
            if link.href.startswith(f"{self.base}{query}&"):
                calls = self._calls("GET", self.base + collection)
        if link.rel == "self" and not calls:
            # The address of what can be deleted alone.
            return
        self._check_call(source, link, "GET", calls)
        self._leading.append((source, link))
        if link.type is not None:
            self.types.add(link.type)
        self._waiting.append(link.href)

    def _check_action(self, source: str, link: FoundLink) -> None:
        method = method_of(link)
        self.actions.add((method, link.href))
        self._check_call(source, link, method, self._calls(method, link.href))
        typed = link.rel in ("Create", "Edit") or link.type in TYPED_DELETES
        if link.type is not None and not typed:
            self.faults.append(f"{source}: {link} is an action and has a Type")
        if link.name is not None and link.rel != "Edit":
            self.faults.append(f"{source}: {link} is an action and has a Name")

    def _check_call(
        self, source: str, link: FoundLink, method: str, calls: list[Documented]
    ) -> None:
        fault = "is no call"
        for call in calls:
            if not product_call(call).built:
                fault = "is not built"
            elif not call.roles & self.roles:
                fault = "is not allowed"
            else:
                return
        self.faults.append(f"{source}: {method} {link} {fault}")

    def _calls(self, method: str, href: str) -> list[Documented]:
        address = urlsplit(href)
        path = address.path.removeprefix(urlsplit(self.base).path)
        query = {name.casefold(): value for name, value in parse_qsl(address.query)}
        return list(calls_at(method, path, query))

    def _check_target(self, source: str, link: FoundLink) -> None:
        target = self.documents[link.href]
        paging = link.rel in PAGES and self.documents[source].root is not None
        if paging and target.root != self.documents[source].root:
            self.faults.append(f"{source}: {link} leads to {target.root}")
        unlike = self.unlike(link, target.root, target.name)
        self.faults += [f"{source}: {fault}" for fault in unlike]

    def unlike(self, link: FoundLink, root: str | None, name: str | None) -> list[str]:
        """Given a link and the root and name of what it leads to, return what is wrong with it."""
        faults = []
        wanted = self._roots(link)
        if wanted is not None and root is not None and root not in wanted:
            faults.append(f"{link} leads to {root}")
        if link.rel in PAGES and (link.name is not None or link.type is not None):
            faults.append(f"{link} leads to a page and has a Name or a Type")
        if link.name is not None and name is not None and link.name != name:
            faults.append(f"{link} leads to {name!r}")
        named = name is not None and link.rel in ("Up", "Down", "Alternate")
        if named and link.name is None and link.type not in NAMELESS:
            faults.append(f"{link} has no Name, but leads to {name!r}")
        if link.type is not None and link.type.endswith("List") and link.name is not None:
            faults.append(f"{link} leads to a list and has a Name")
        return faults

    def _roots(self, link: FoundLink) -> set[str] | None:
        """What a link may lead to; None where it does not say."""
        if link.type is None or (link.rel == "self" and not link.type.isalpha()):
            return None  # an untyped item, or made-up text in place of a Type
        relative = link.href.removeprefix(self.base)
        if relative.startswith("/query?"):
            return {"QueryResult"}
        if link.type == "ReportFrame":
            return FRAMES
        for (kind, place), root in MISTYPED.items():
            if kind == link.type and re.fullmatch(place, relative):
                return {root}
        return {root_of(link.type)}


def method_of(link: FoundLink) -> str:
    """Given a link, return the method that it is followed with."""
    if link.rel in FOLLOWED or link.rel == "self":
        return "GET"
    return OTHER_METHODS.get(link.rel, "POST")


def read_document(answer: httpx.Response) -> Document:
    """Given an answer in either format, return what is to be known of its document."""
    is_json = answer.headers["Content-Type"].startswith("application/json")
    return _read_json(answer) if is_json else _read_xml(answer)


def root_of(link_type: str) -> str:
    """Given the Type of a link, return the root of what it leads to."""
    if link_type in ROOTS:
        return ROOTS[link_type]
    if link_type.endswith("ReferenceList"):
        return "EntityReferences"
    if link_type.endswith("Reference"):
        return "EntityRef"
    if link_type.endswith("List"):
        by_type = {name.casefold(): declared.plural for name, declared in _TYPES.items()}
        return by_type.get(link_type.removesuffix("List").casefold(), f"no {link_type}")
    return link_type


_PLACEHOLDERS = {"{id}": "[^/]+", "{item}": "[^/]+", "{path}": ".+"}


def _pattern(address: str) -> re.Pattern[str]:
    pattern = re.escape(address.partition("?")[0]).replace(r"\{", "{").replace(r"\}", "}")
    for placeholder, meaning in _PLACEHOLDERS.items():
        pattern = pattern.replace(placeholder, meaning)
    return re.compile(f"{pattern.rstrip('/')}/?", re.IGNORECASE)


_PATTERNS = [(_pattern(call.address), call) for call in DOCUMENTED]


def calls_at(method: str, path: str, query: dict[str, str]) -> Iterator[Documented]:
    """Given a method, a path and its parameters, return the documented calls that it is."""
    for pattern, call in _PATTERNS:
        if call.method != method or not pattern.fullmatch(path):
            continue
        name, _, value = call.address.partition("?")[2].partition("=")
        given = query.get(name.casefold(), "")
        told_apart = not name or given.casefold() == value.casefold()
        if name == "action" and not given and value in ("edit", "create"):
            told_apart = True  # such an action need not be named
        if told_apart or (value.endswith("*") and given.startswith(value[:-1])):
            yield call


def _with_small_pages(href: str) -> str | None:
    """Given the address of a list, return that of its first page of one item; None for a page."""
    address = urlsplit(href)
    if "pageSize=1&" in f"{address.query}&":
        return None
    if "pageSize=" in address.query:
        return href.replace("pageSize=15", "pageSize=1")
    return f"{href}{'&' if address.query else '?'}pageSize=1"


def _read_xml(answer: httpx.Response) -> Document:
    root = parsed(answer)
    links, items = [], 0
    for element in root.iter():
        href = element.get("Href")
        if href is None:
            continue
        rel = element.get("Rel")
        if rel is None:
            rel = "self"
            items += element is not root
        links.append(FoundLink(rel, href, element.get("Name"), element.get("Type")))
    return Document(local(root), root.get("Name"), links, items)


def _read_json(answer: httpx.Response) -> Document:
    value = json_of(answer)
    links = list(_links_in(value))
    items = sum(link.rel == "self" for link in links) - bool(value.get("Href"))
    return Document(_root_of_json(value), value.get("Name"), links, items)


def _links_in(value: Any) -> Iterator[FoundLink]:
    if isinstance(value, list):
        for item in value:
            yield from _links_in(item)
    elif isinstance(value, dict):
        if value.get("Href"):
            rel = value.get("Rel", "self")
            yield FoundLink(rel, value["Href"], value.get("Name"), value.get("Type"))
        for inner in value.values():
            yield from _links_in(inner)


def _root_of_json(value: dict[str, Any]) -> str | None:
    """Given a JSON document, return the root that it would have in XML, or None."""
    if "Refs" in value:
        return "QueryResult" if "Entities" in value else "EntityReferences"
    if "SupportedVersions" in value:
        return "EnterpriseManager"
    if (kind := value.get("Type")) is not None:
        return root_of(kind)
    # A list has one member, named like its root; whatever else has no Type has links at least.
    return None if "Links" in value else next(iter(value))
