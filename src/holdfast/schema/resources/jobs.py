"""Jobs, the objects in them, their schedules."""

from __future__ import annotations

from holdfast.schema.resource import (
    Action,
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    When,
    through,
)
from holdfast.schema.resources.infrastructure import UP_TO_SERVER
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
    Structure,
    Uid,
    structure,
)

DAYS_OF_WEEK = Enumeration(
    ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
)
MONTHS = Enumeration(
    (
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    )
)
ENABLED = (Element("Enabled", BOOLEAN),)

#: Seven days, each 24 times 0 or 1 separated by commas, one for each hour.
TIME_PERIODS = structure(
    Element(
        "Day",
        Structure(attributes=(Element("Name", DAYS_OF_WEEK),), text="Value"),
        repeated=True,
        json_name="Days",
    )
)

SCHEDULE_OPTIONS = structure(
    Element(
        "Standart",  # so spelt on the wire
        structure(
            Element(
                "RetryOptions",
                structure(
                    Element("RetryTimes", INTEGER, optional=True),
                    Element("RetryTimeout", INTEGER, optional=True),
                    Element("RetrySpecified", BOOLEAN, optional=True, json_name="RetrySpecified1"),
                ),
            ),
            Element("WaitForBackupCompletion", BOOLEAN, optional=True),
            Element("BackupCompetitionWaitingPeriodMin", INTEGER, optional=True),
            Element(
                "OptionsDaily",
                structure(
                    Element("Kind", Enumeration(("Everyday", "WeekDays", "SelectedDays"))),
                    Element("Days", DAYS_OF_WEEK, repeated=True),
                    Element("Time", STRING),
                    Element("TimeOffsetUtc", INTEGER),
                    attributes=ENABLED,
                ),
                optional=True,
            ),
            Element(
                "OptionsPeriodically",
                structure(
                    Element("Kind", Enumeration(("Hours", "Minutes"))),
                    Element("FullPeriod", INTEGER),
                    Element("Schedule", TIME_PERIODS, optional=True),
                    attributes=ENABLED,
                ),
                optional=True,
            ),
        ),
        optional=True,
    ),
)

OBJECT_ELEMENTS = (
    Element("ObjectInJobId", GUID),
    Element("HierarchyObjRef", HIERARCHY_REF),
    Element("Name", STRING),
    Element("DisplayName", STRING),
    Element("Order", INTEGER, optional=True),
)

INCLUDES = structure(
    Element(
        "ObjectInJob",
        structure(*OBJECT_ELEMENTS, attributes=(Element("Type", STRING), Element("Href", HREF))),
        repeated=True,
        json_name="ObjectInJobs",
    )
)

JOB = ResourceType(
    name="Job",
    plural="Jobs",
    collection="/jobs",
    readers=ADMINISTRATOR,
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element(
            "JobType",
            # The documented four; file share jobs are shown here too, as the sessions name them.
            Enumeration(("Backup", "BackupCopy", "ImmediateBackupCopy", "Replica", "NasBackup")),
            optional=True,
        ),
        Element("Platform", Enumeration(("VMware", "Hyperv", "vCloud")), optional=True),
        Element("Description", STRING, optional=True),
        Element("ScheduleConfigured", BOOLEAN, optional=True),
        Element("ScheduleEnabled", BOOLEAN, optional=True),
        Element("NextRun", DATE_TIME, optional=True),
        Element("JobScheduleOptions", SCHEDULE_OPTIONS, optional=True),
        Element(
            "JobInfo",
            structure(
                Element(
                    "BackupJobInfo",
                    structure(
                        Element("Includes", INCLUDES, optional=True),
                        Element(
                            "SimpleRetentionPolicy",
                            structure(
                                Element("RetainCycles", INTEGER),
                                Element("RetainDaysToKeep", INTEGER),
                                Element("RetainLimitType", Enumeration(("Cycles", "Days"))),
                            ),
                        ),
                    ),
                    optional=True,
                ),
            ),
            optional=True,
        ),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        Link("Alternate", "JobReference", path="", named=True),
        Link("Clone", path="?action=clone"),
        Link("ToggleScheduleEnabled", path="?action=toggleScheduleEnabled"),
        Link("Down", "ObjectInJobList", path="/includes"),
        Link(
            "Down",
            "BackupJobSessionReferenceList",
            path="/backupSessions",
            when=When("JobType", "Replica", equal=False),
        ),
        Link("Start", path="?action=start"),
        Link("Stop", path="?action=stop"),
        Link("Retry", path="?action=retry"),
        Link(
            "Down",
            "ReplicaJobSessionReferenceList",
            path="/replicaSessions",
            when=When("JobType", "Replica"),
        ),
    ),
    reference_links=(
        UP_TO_SERVER,
        Link("Alternate", "Job", path="?format=Entity", named=True),
        Link(
            "Down",
            "BackupJobSessionReferenceList",
            path="/backupSessions",
            when=When("JobType", "Replica", equal=False),
        ),
        Link(
            "Down",
            "ReplicaJobSessionReferenceList",
            path="/replicaSessions",
            when=When("JobType", "Replica"),
        ),
    ),
    children=(
        SubCollection("includes", "ObjectInJob", "job"),
        SubCollection("backupSessions", "BackupJobSession", "job"),
        SubCollection("replicaSessions", "ReplicaJobSession", "job"),
    ),
    actions=(
        Action("start", "StartJob", ADMINISTRATOR),
        Action("stop", "StopJob", ADMINISTRATOR),
        Action("retry", "RetryJob", ADMINISTRATOR),
        Action("clone", "CloneJob", ADMINISTRATOR, body="JobCloneSpec"),
        Action("toggleScheduleEnabled", "UpdateJob", ADMINISTRATOR),
        Action("delete", "DeleteJob", ADMINISTRATOR, method="DELETE"),
    ),
)

OBJECT_IN_JOB = ResourceType(
    name="ObjectInJob",
    plural="ObjectsInJob",
    collection="/includes",
    key=False,
    identifier="ObjectInJobId",
    parent="job",
    readers=ADMINISTRATOR,
    relations=(Relation("job", "Job"), Relation("server", "BackupServer")),
    elements=OBJECT_ELEMENTS,
    fields=(
        Field("UID", "ObjectInJobId"),
        *through("job", "Job"),
        *through("server", "BackupServer"),
    ),
    links=(Link("Up", relation="job", entity=True, named=True),),
)

JOB_CLONE_SPEC = Element(
    "JobCloneSpec",
    structure(
        Element(
            "BackupJobCloneInfo",
            structure(
                Element("JobName", STRING, optional=True),
                Element("FolderName", STRING, optional=True),
                Element("RepositoryUid", Uid("Repository"), optional=True),
                Element("Description", STRING, optional=True),
            ),
            optional=True,
        ),
    ),
)
