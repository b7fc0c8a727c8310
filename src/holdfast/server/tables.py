"""The tables of the server's own database. Its rows are the truth; memory holds only what runs.

Times are milliseconds since 1970 UTC, sizes are bytes. Foreign keys are where the safety lies:
a backup file that another file is built on cannot be deleted, nor a restore point that still has
machines in it. A column that names something which may be gone by now carries no foreign key,
and says so.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Who this server is: exactly one row. `epoch` is drawn when the database is made, so that a
#: manager notices a lost database. `seen` is what time it was when somebody last looked.
server = Table(
    "server",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("epoch", Uuid, nullable=False),
    Column("name", String, nullable=False),
    Column("seen", BigInteger),
)

#: A step of the clock: it showed `before` when last seen, and then `length` more (less, if that is
#: negative) without time having passed. See `clock_watch`.
clock_jump = Table(
    "clock_jump",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("before", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
)

repository = Table(
    "repository",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("path", String, nullable=False, unique=True),
    Column("capacity", BigInteger, nullable=False),
    Column("free_space", BigInteger, nullable=False),
)

managed_server = Table(
    "managed_server",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("description", String, nullable=False),
)

#: `kind` is a JobType. A deleted job keeps its row: its history and its backups name it. A one-off
#: backup has a job that was never there: its row is deleted from the beginning. `options` are as
#: in `job_options`, NULL for none; `checked` is when its backup was last checked whole.
job = Table(
    "job",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("description", String, nullable=False),
    Column("repository_uid", ForeignKey("repository.uid"), nullable=False),
    Column("folder", String, nullable=False, unique=True),
    Column("retention", Integer, nullable=False),
    Column("schedule", Text),
    Column("schedule_enabled", Boolean, nullable=False),
    Column("next_run", BigInteger),
    Column("created", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("retry_times", Integer, nullable=False, server_default=text("0")),
    Column("retry_minutes", Integer, nullable=False, server_default=text("0")),
    Column("retry_at", BigInteger),
    Column("backup_window", Text),
    Column("retention_days", Integer),
    Column("options", Text),
    Column("checked", BigInteger),
    Index(
        "ix_job_name_in_use",
        "name",
        unique=True,
        sqlite_where=text("NOT deleted"),
        postgresql_where=text("NOT deleted"),
    ),
)

#: A host of virtual machines, reached by libvirt under its `uri`. `facts` are those of the last
#: probe that succeeded, as JSON; `reason` says why it is not available. `scanned` is when a scan
#: last succeeded. `staging` is a folder that QEMU there can write to, under the same path here.
host = Table(
    "host",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("uri", String, nullable=False, unique=True),
    Column("description", String, nullable=False),
    Column("credentials_uid", ForeignKey("credentials.uid")),
    Column("staging", String),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("facts", Text),
    Column("scanned", BigInteger),
)

#: A machine that a scan has seen on a host. One that is not `present` any more keeps its row as
#: long as the host is known, so that its name is. `tags` are a JSON list.
host_machine = Table(
    "host_machine",
    metadata,
    Column("host_uid", ForeignKey("host.uid"), primary_key=True),
    Column("uuid", String, primary_key=True),
    Column("reference", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("tags", Text, nullable=False),
    Column("present", Boolean, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Index("ix_host_machine_uuid", "uuid"),
)

#: What is in a job: a disk image, a directory, a machine of a host, a whole host or a tag (`kind`).
#: `reference` identifies it beyond the job. `role` says whether the job includes it, excludes it,
#: or found it: a machine that came with its host or tag. One that was `removed` from the job keeps
#: its row: its history names it.
job_object = Table(
    "job_object",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("job_uid", ForeignKey("job.uid"), nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("path", String, nullable=False),
    Column("format", String),
    Column("reference", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("removed", Boolean, nullable=False, server_default=false()),
    Column("role", String, nullable=False, server_default="Included"),
    UniqueConstraint("job_uid", "reference"),
)

#: What a copy job copies from: another job's backups, or all backups in a repository.
job_link = Table(
    "job_link",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("job_uid", ForeignKey("job.uid"), nullable=False),
    Column("linked_job_uid", ForeignKey("job.uid"), index=True),
    Column("linked_repository_uid", ForeignKey("repository.uid")),
    Column("position", Integer, nullable=False),
    UniqueConstraint("job_uid", "linked_job_uid"),
    UniqueConstraint("job_uid", "linked_repository_uid"),
    CheckConstraint(
        "(linked_job_uid IS NULL) <> (linked_repository_uid IS NULL)", name="one_source"
    ),
)

#: Since when nothing that a copy job copies from has points of a machine of which it has copies.
lost_source = Table(
    "lost_source",
    metadata,
    Column("job_uid", ForeignKey("job.uid"), primary_key=True),
    Column("reference", String, primary_key=True),
    Column("since", BigInteger, nullable=False),
)

#: `restore_point_uid` names the point it made, also after retention has removed that. `cause` is a
#: `session_state.Cause`; `attempt` counts the retries that the schedule has made, from 1.
job_session = Table(
    "job_session",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("job_uid", ForeignKey("job.uid"), nullable=False),
    Column("job_name", String, nullable=False),
    Column("job_kind", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("state", String, nullable=False),
    Column("result", String, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("failure_message", Text),
    Column("is_retry", Boolean, nullable=False),
    Column("restore_point_uid", Uuid),
    Column("cause", String, nullable=False, server_default="Person"),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Index("ix_job_session_job_uid_created", "job_uid", "created"),
    # A job never runs twice at once, whatever the code above believes.
    Index(
        "ix_job_session_running",
        "job_uid",
        unique=True,
        sqlite_where=text("state <> 'Stopped'"),
        postgresql_where=text("state <> 'Stopped'"),
    ),
)

#: `machine_point_uid` names the point it made, also after retention has removed that.
task_session = Table(
    "task_session",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("job_session_uid", ForeignKey("job_session.uid"), nullable=False, index=True),
    Column("job_uid", ForeignKey("job.uid"), nullable=False),
    Column("job_object_uid", ForeignKey("job_object.uid"), nullable=False),
    Column("display_name", String, nullable=False),
    Column("reference", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("state", String, nullable=False),
    Column("result", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("total_size", BigInteger, nullable=False),
    Column("machine_point_uid", Uuid),
)

#: What one job keeps in one repository. One that `expires` is removed whole from then on.
backup = Table(
    "backup",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("name", String, nullable=False),
    Column("job_uid", ForeignKey("job.uid"), nullable=False),
    Column("repository_uid", ForeignKey("repository.uid"), nullable=False),
    Column("folder", String, nullable=False),
    Column("expires", BigInteger),
    UniqueConstraint("job_uid", "repository_uid"),
)

#: What one job session made: groups the points of its machines. A session of a copy job makes one
#: for each restore point that it copies from.
restore_point = Table(
    "restore_point",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("backup_uid", ForeignKey("backup.uid"), nullable=False, index=True),
    Column("job_session_uid", ForeignKey("job_session.uid"), nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
)

#: A disk image in a repository; `path` is relative to it. `parent_uid` is the file it is built on
#: (none for a full). `restore_point_uid` names the point it was made for, also after that is gone.
#: `key_uid` is the key that it is encrypted with, none for one that is not.
backup_file = Table(
    "backup_file",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("backup_uid", ForeignKey("backup.uid"), nullable=False, index=True),
    Column("restore_point_uid", Uuid, nullable=False),
    Column("parent_uid", ForeignKey("backup_file.uid"), index=True),
    Column("path", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("file_size", BigInteger, nullable=False),
    Column("data_size", BigInteger, nullable=False),
    Column("virtual_size", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("key_uid", ForeignKey("data_key.uid"), index=True),
    UniqueConstraint("backup_uid", "path"),
)

#: The point of one machine or directory: what can be restored. A machine has a backup file, a
#: directory a snapshot. `reference` tells which points belong to the same machine; `copied_from`
#: names the point that a copy was made of, also after that is gone. A machine of a host has a disk
#: or more (`machine_disk`), of which the first is its backup file, and in `detail`, as JSON, what
#: the engine needs to know of the point. `damaged` says why it cannot be restored, as the last
#: check found; `kept_for` for which periods (Weekly, Monthly, Yearly) it is kept, with commas.
machine_point = Table(
    "machine_point",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("backup_uid", ForeignKey("backup.uid"), nullable=False),
    Column("restore_point_uid", ForeignKey("restore_point.uid"), nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("reference", String, nullable=False),
    Column("display_name", String, nullable=False),
    Column("source_path", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("total_size", BigInteger, nullable=False),
    Column("backup_file_uid", ForeignKey("backup_file.uid"), unique=True),
    Column("snapshot_id", String),
    Column("copied_from", Uuid),
    Column("detail", Text),
    Column("damaged", Text),
    Column("kept_for", String),
    Index("ix_machine_point_chain", "backup_uid", "reference", "created"),
    CheckConstraint("(backup_file_uid IS NULL) <> (snapshot_id IS NULL)", name="one_place"),
)

#: A disk of a machine of a host in a point: its backup file, and where the guest has it.
machine_disk = Table(
    "machine_disk",
    metadata,
    Column("backup_file_uid", ForeignKey("backup_file.uid"), primary_key=True),
    Column("point_uid", ForeignKey("machine_point.uid"), nullable=False, index=True),
    Column("target", String, nullable=False),
    Column("position", Integer, nullable=False),
)

#: What a job of kind Replica has beside what all jobs have: the host its replicas are on, what
#: their names end in, and, as a JSON object, which network there stands for which of the source.
replica_target = Table(
    "replica_target",
    metadata,
    Column("job_uid", ForeignKey("job.uid"), primary_key=True),
    Column("host_uid", ForeignKey("host.uid"), nullable=False, index=True),
    Column("suffix", String, nullable=False),
    Column("networks", Text, nullable=False),
)

#: The replica of a machine. Its points are those of the `backup` with the same `reference`; it is
#: there from the first of them on, and stays when they are gone. `name`, `source_host_uid` and
#: `source_uuid` tell the machine as it was last replicated (the host may be gone); `host_uid`,
#: `machine_uuid` and `machine_name` the machine that stands for it elsewhere. `state` is a
#: `replicas.ReplicaState`. `failover` is the record of a failover, for whoever carries that out;
#: None without one.
replica = Table(
    "replica",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("backup_uid", ForeignKey("backup.uid"), nullable=False),
    Column("reference", String, nullable=False),
    Column("name", String, nullable=False),
    Column("source_host_uid", Uuid, nullable=False),
    Column("source_uuid", String, nullable=False),
    Column("host_uid", ForeignKey("host.uid"), nullable=False),
    Column("machine_uuid", String, nullable=False),
    Column("machine_name", String, nullable=False),
    Column("state", String, nullable=False),
    Column("failover", Text),
    Column("created", BigInteger, nullable=False),
    UniqueConstraint("backup_uid", "reference"),
    UniqueConstraint("host_uid", "machine_uuid"),
)

#: Which machine, by its reference, has taken the place of which other one.
stand_in = Table(
    "stand_in",
    metadata,
    Column("reference", String, primary_key=True),
    Column("stand_in", String, nullable=False, index=True),
)

#: An operation on a replica: a failover, or what follows one. `operation` is a
#: `failover_record.Operation`, `options` what was asked for, as JSON. `point_uid` names the point
#: that it is about, also after that is gone.
failover_session = Table(
    "failover_session",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("replica_uid", ForeignKey("replica.uid"), nullable=False),
    Column("operation", String, nullable=False),
    Column("options", Text, nullable=False),
    Column("point_uid", Uuid),
    Column("job_uid", ForeignKey("job.uid"), nullable=False),
    Column("job_name", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("state", String, nullable=False),
    Column("result", String, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("failure_message", Text, nullable=False),
    # Nothing is done to a replica twice at once.
    Index(
        "ix_failover_session_running",
        "replica_uid",
        unique=True,
        sqlite_where=text("state <> 'Stopped'"),
        postgresql_where=text("state <> 'Stopped'"),
    ),
)

#: Which replicas take over together. `doing` is "start" or "undo" while that goes on, or NULL;
#: `outcome` tells in words how the last one ended.
failover_plan = Table(
    "failover_plan",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("description", String, nullable=False),
    Column("doing", String),
    Column("outcome", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

#: A machine of a failover plan; `delay` is how many seconds to wait after it before the next one.
#: `started` says that this plan has failed it over and not undone that.
failover_plan_machine = Table(
    "failover_plan_machine",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("plan_uid", ForeignKey("failover_plan.uid"), nullable=False),
    Column("replica_uid", ForeignKey("replica.uid"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("delay", Integer, nullable=False),
    Column("started", Boolean, nullable=False),
    UniqueConstraint("plan_uid", "replica_uid"),
)

#: The journal: what is about to be done to a repository, written before it is done.
intent = Table(
    "intent",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("backup_uid", ForeignKey("backup.uid"), nullable=False),
    Column("chain", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("work", Text, nullable=False),
    Index("ix_intent_backup_uid_chain", "backup_uid", "chain"),
)

#: What to log on with elsewhere. `secret` is sealed, here and below.
credentials = Table(
    "credentials",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("username", String, nullable=False),
    Column("description", String, nullable=False),
    Column("secret", LargeBinary, nullable=False),
)

#: A password for encryption, by the hint that people know it by.
password_key = Table(
    "password_key",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("hint", String, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("modified", BigInteger, nullable=False),
)

#: What files of backups are encrypted with: `secret` is the key, sealed; `wrapped` the same as a
#: `engine.key_file.KeyFile`, which the password opens. `backup_uid` names the backup it was drawn
#: for, also after that is gone: copies have the same keys.
data_key = Table(
    "data_key",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("backup_uid", Uuid, nullable=False, index=True),
    Column("password_uid", ForeignKey("password_key.uid"), nullable=False, index=True),
    Column("secret", LargeBinary, nullable=False),
    Column("wrapped", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

#: Which points were indexed; those with 0 entries have no index. A point that is gone keeps its row
#: until its index is removed.
guest_index = Table(
    "guest_index",
    metadata,
    Column("point_uid", Uuid, primary_key=True),
    Column("display_name", String, nullable=False),
    Column("entries", Integer, nullable=False),
)

#: A restore; `plan` is what it has to do. `machine_point_uid` names the point, also after retention
#: has removed that. `target` is what it writes, `temporary` what a crash may leave of it: a file or
#: a folder, never seen under its final name before it is whole. For a machine of a host, `ledger`
#: says as JSON what it has begun to write and to name, and `temporary` is empty; of one that has
#: ended it says what is left to be put right, and is NULL for nothing.
restore_session = Table(
    "restore_session",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("kind", String, nullable=False),
    Column("machine_point_uid", Uuid, nullable=False),
    Column("job_uid", ForeignKey("job.uid"), nullable=False),
    Column("job_name", String, nullable=False),
    Column("display_name", String, nullable=False),
    Column("reference", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("state", String, nullable=False),
    Column("result", String, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("failure_message", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("temporary", Text, nullable=False),
    Column("ledger", Text),
    # Two restores never write to the same place at once.
    Index(
        "ix_restore_session_running",
        "target",
        unique=True,
        sqlite_where=text("state <> 'Stopped'"),
        postgresql_where=text("state <> 'Stopped'"),
    ),
)

#: A machine that runs from its restore point. While the row is there, no file of the point's chain
#: is removed or merged. `uuid` is the machine's on the host, `state` an `InstantState`, `files`
#: those that it is made with, as JSON. `machine_point_uid` names the point, which may be gone.
instant_recovery = Table(
    "instant_recovery",
    metadata,
    Column("uid", Uuid, primary_key=True),
    Column("machine_point_uid", Uuid, nullable=False),
    Column("backup_uid", ForeignKey("backup.uid"), nullable=False),
    Column("chain", String, nullable=False),
    Column("host_uid", ForeignKey("host.uid"), nullable=False),
    Column("name", String, nullable=False),
    Column("uuid", String, nullable=False),
    Column("state", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("files", Text, nullable=False),
    Index("ix_instant_recovery_backup_uid_chain", "backup_uid", "chain"),
)

#: The outbox: the newest state of each resource, written with the rows it describes.
change = Table(
    "change",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("type", String, nullable=False),
    Column("uid", Uuid, nullable=False),
    Column("state", Text),
    UniqueConstraint("type", "uid"),
)

#: The answers given to commands, by request id.
command = Table(
    "command",
    metadata,
    Column("request_id", Uuid, primary_key=True),
    Column("operation", String, nullable=False),
    Column("asked_by", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    # The UID of what the command has begun, until that has ended.
    Column("awaits", Uuid, index=True),
)
