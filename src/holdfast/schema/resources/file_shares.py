"""File servers and the jobs that back up their shares."""

from __future__ import annotations

from holdfast.schema.resource import (
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    through,
)
from holdfast.schema.resources.links import (
    UP_TO_SERVER,
    down,
    to_entity,
    to_reference,
)
from holdfast.schema.resources.schedules import FILE_SHARE_SCHEDULE_OPTIONS
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.schema.types import (
    BOOLEAN,
    DATE_TIME,
    GUID,
    HIERARCHY_REF,
    HREF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Uid,
    structure,
)

FILE_SERVER = ResourceType(
    name="FileServer",
    plural="FileServers",
    collection="/nas/fileServers",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("ServerType", STRING),
        Element("HierarchyObjRef", HIERARCHY_REF),
        # One of the next three is there, by the type of server.
        Element(
            "SmbServerOptions",
            structure(Element("Path", STRING), Element("CredentialsId", STRING)),
            optional=True,
        ),
        Element("NfsServerOptions", structure(), optional=True),
        Element("FileServerOptions", structure(), optional=True),
        Element(
            "ProcessingOptions",
            structure(
                Element("ServerUid", Uid("ManagedServer")),
                Element("CacheRepositoryUid", Uid("Repository")),
            ),
        ),
        Element("NASServerAdvancedOptions", structure(Element("ProcessingMode", STRING))),
    ),
    fields=through("server", "BackupServer"),
    links=(UP_TO_SERVER, to_reference("FileServer")),
    reference_links=(UP_TO_SERVER, to_entity("FileServer")),
)

_MASK = structure(Element("Extension", STRING, repeated=True, json_name="Extensions"))

_OBJECT_ELEMENTS = (
    Element("HierarchyObjRef", HIERARCHY_REF),
    Element("ObjectInJobId", GUID),
    Element("FileOrFolder", STRING),
    Element("FileServerUid", Uid("FileServer")),
    Element("InclusionMask", _MASK),
    Element("ExclusionMask", _MASK),
)

_SESSIONS = down("BackupJobSessionReferenceList", "/backupSessions")

FILE_SHARE_JOB = ResourceType(
    name="NasJob",
    root="NASJob",
    plural="NASJobs",
    collection="/nas/jobs",
    readers=ADMINISTRATOR,
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Description", STRING),
        Element(
            "Includes",
            structure(
                Element(
                    "NASObject",
                    structure(
                        *_OBJECT_ELEMENTS,
                        attributes=(Element("Type", STRING), Element("Href", HREF)),
                    ),
                    repeated=True,
                    json_name="NASObjects",
                )
            ),
        ),
        Element(
            "StorageOptions",
            structure(
                Element("BackupRepositoryUid", Uid("Repository")),
                Element("ShorttermRetentionType", Enumeration(("Day", "Month"))),
                Element("ShorttermRetentionPeriod", INTEGER),
                Element("LongtermRetentionEnabled", BOOLEAN),
                Element(
                    "AdvancedStorageOptions",
                    structure(
                        Element(
                            "ACL",
                            structure(Element("FileAttributesChangeTrackingMode", STRING)),
                        )
                    ),
                ),
            ),
        ),
        Element("ScheduleConfigured", BOOLEAN),
        Element("ScheduleEnabled", BOOLEAN),
        Element("NextRun", DATE_TIME, optional=True),
        Element("JobScheduleOptions", FILE_SHARE_SCHEDULE_OPTIONS, optional=True),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        # Typed so in the API.
        Link("Alternate", "JobReference", path="", named=True),
        down("NasObjectList", "/includes"),
        _SESSIONS,
    ),
    reference_links=(
        UP_TO_SERVER,
        Link("Alternate", "Job", path="?format=Entity", named=True),
        _SESSIONS,
    ),
    children=(
        SubCollection("includes", "NasObject", "job"),
        SubCollection("backupSessions", "BackupJobSession", "job"),
    ),
)

FILE_SHARE_OBJECT = ResourceType(
    name="NasObject",
    root="NASObject",
    plural="NASObjects",
    collection="/includes",
    key=False,
    identifier="ObjectInJobId",
    parent="job",
    readers=ADMINISTRATOR,
    relations=(
        Relation("job", "NasJob"),
        Relation("file_server", "FileServer"),
        Relation("server", "BackupServer"),
    ),
    elements=_OBJECT_ELEMENTS,
    fields=(
        Field("UID", "ObjectInJobId"),
        Field("Name", "FileOrFolder"),
        *through("job", "Job"),
        *through("file_server", "FileServer"),
        *through("server", "BackupServer"),
    ),
    links=(
        Link("Up", "Job", relation="job", entity=True, named=True),
        Link("Related", relation="file_server", entity=True, named=True),
    ),
)
