"""The folders of jobs and backups are named as they are in the repository.

Until now a name was changed once more when the folder was made, which made another one of a name
of more than 100 bytes. So what was recorded was no folder at all.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_JOB = sa.table("job", sa.column("uid", sa.Uuid()), sa.column("folder", sa.String()))
_BACKUP = sa.table(
    "backup",
    sa.column("uid", sa.Uuid()),
    sa.column("job_uid", sa.Uuid()),
    sa.column("folder", sa.String()),
)
_FILE = sa.table(
    "backup_file",
    sa.column("backup_uid", sa.Uuid()),
    sa.column("path", sa.String()),
    sa.column("created", sa.BigInteger()),
)
_POINT = sa.table(
    "machine_point", sa.column("backup_uid", sa.Uuid()), sa.column("snapshot_id", sa.String())
)


def upgrade() -> None:
    """Make the change."""
    connection = op.get_bind()
    of_jobs = {row.uid: row.folder for row in connection.execute(sa.select(_JOB))}
    for backup in connection.execute(sa.select(_BACKUP)).all():
        imported = of_jobs.get(backup.job_uid) == f"imported {backup.uid}"
        _rename(connection, _BACKUP, backup, _folder_of(connection, backup, imported=imported))
    for job in connection.execute(sa.select(_JOB)).all():
        _rename(connection, _JOB, job, _name_made_of(job.folder))


def _folder_of(connection: sa.Connection, backup: sa.Row[tuple[UUID]], *, imported: bool) -> str:
    """Return the folder that a backup really has."""
    here = _POINT.c.backup_uid == backup.uid
    directories = sa.select(_POINT.c.snapshot_id).where(here, _POINT.c.snapshot_id.is_not(None))
    recorded: str = backup.folder
    # A restic repository was always looked for under the recorded name.
    if connection.execute(directories.limit(1)).first() is not None:
        return recorded
    paths = sa.select(_FILE.c.path).where(_FILE.c.backup_uid == backup.uid)
    newest: str | None = connection.scalar(paths.order_by(_FILE.c.created.desc()).limit(1))
    folder, inside, _ = (newest or "").partition("/")
    if inside:
        return folder
    # That of an imported backup was there before this server was.
    return recorded if imported else _name_made_of(recorded)


def _name_made_of(recorded: str) -> str:
    """Return what a folder was called when one of that name was to be made."""
    cleaned = re.sub(r"[^\w .+@()-]", "_", unicodedata.normalize("NFC", recorded)).strip(". ")
    shortened = cleaned.encode()[:100].decode(errors="ignore").strip(". ")
    if shortened == recorded != "" and not recorded.startswith("holdfast-repository"):
        return recorded
    digest = hashlib.sha256(recorded.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{shortened or 'job'}-{digest}"


def _rename(
    connection: sa.Connection, table: sa.TableClause, row: sa.Row[tuple[UUID]], folder: str
) -> None:
    if row.folder != folder:
        same = table.c.uid == row.uid
        connection.execute(sa.update(table).where(same).values(folder=folder))
