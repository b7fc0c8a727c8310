"""What the catalog and the repository of a server hold, seen from outside: by SQL and qemu-img."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from holdfast.engine import key_file
from holdfast.engine.chain import Chain, ChainPoint
from holdfast.engine.data_key import KEY_ID
from holdfast.engine.image_node import chain_node, name_of

PASSWORD = "of the sequences"

_POINTS = """
SELECT machine_point.uid AS point, backup_file.uid AS file, backup_file.parent_uid AS parent,
    backup_file.path, backup_file.sha256, backup_file.file_size, backup_file.key_uid,
    machine_point.damaged
FROM machine_point JOIN backup_file ON backup_file.uid = machine_point.backup_file_uid
ORDER BY machine_point.created
"""


@dataclass(frozen=True)
class File:
    """A backup file in the catalog, and the point that it holds."""

    uid: str
    point: str
    path: Path
    sha256: str
    size: int
    key: str | None


@dataclass(frozen=True)
class Observed:
    """A chain as the catalog has it when all that the journal says is done, and its files."""

    chain: Chain
    files: dict[str, File]
    journal: list[dict[str, str]]
    file_rows: int
    damaged: set[str]

    @classmethod
    def of(cls, folder: Path) -> Observed:
        """Look at the server in a folder."""
        with closing(sqlite3.connect(folder / "server" / "server.sqlite")) as database:
            database.row_factory = sqlite3.Row
            with database:
                rows = database.execute(_POINTS).fetchall()
                works = database.execute("SELECT work FROM intent").fetchall()
                [file_rows] = database.execute("SELECT count(*) FROM backup_file").fetchone()
        journal = [json.loads(row["work"]) for row in works]
        # The file that a merge makes has no parent any more.
        merged = {work["increment"] for work in journal if work["type"] == "MergeImages"}
        points, files, damaged = [], {}, set()
        for row in rows:
            uid, parent = str(UUID(row["file"])), row["parent"]
            built_on = None if parent is None or uid in merged else str(UUID(parent))
            points.append(ChainPoint(uid, built_on))
            path = folder / "repository" / row["path"]
            if row["damaged"] is not None:
                damaged.add(uid)
            point, size, key = str(UUID(row["point"])), row["file_size"], row["key_uid"]
            files[uid] = File(uid, point, path, row["sha256"], size, key)
        return cls(Chain(points), files, journal, file_rows, damaged)

    def check_files(self, folder: Path, taken: set[str]) -> None:
        """Everything is at rest: files are what the catalog says, and nothing else lies there.

        `taken` are the files that somebody has deleted, who has left what describes them.
        """
        assert self.journal == []
        assert self.file_rows == len(self.files)
        there = {
            path.name
            for path in (folder / "repository").glob("*/*")
            if path.parent.name != ".holdfast"
        }
        wanted = {f"{file.path.name}.json" for file in self.files.values()}
        present = [file for file in self.files.values() if file.uid not in taken]
        wanted |= {file.path.name for file in present}
        # The key of an encrypted backup stays as long as the backup does.
        keys = {name for name in there if name.endswith(key_file.SUFFIX)}
        needed = {f"{UUID(file.key)}{key_file.SUFFIX}" for file in self.files.values() if file.key}
        assert needed <= keys
        there -= keys
        assert there == wanted, f"{there - wanted} too many, {wanted - there} missing"
        for file in present:
            content = file.path.read_bytes()
            assert len(content) == file.size
            assert hashlib.sha256(content).hexdigest() == file.sha256
            manifest = json.loads(file.path.with_name(f"{file.path.name}.json").read_bytes())
            assert manifest["sha256"] == file.sha256


def content_of(file: File, scratch: Path) -> bytes:
    """Return the disk that a backup file holds, as qemu-img reads it by itself."""
    reading: list[str | Path] = ["-f", "qcow2", file.path]
    if file.key is not None:
        opening = key_file.key_path(file.path.parent, UUID(file.key))
        secret = scratch.with_name("key")
        secret.write_text(key_file.unwrap(key_file.read_key_file(opening), PASSWORD).secret)
        reading = ["--object", f"secret,id={KEY_ID},file={secret}", name_of(chain_node(file.path))]
    subprocess.run(["qemu-img", "convert", *reading, "-O", "raw", scratch], check=True)
    return scratch.read_bytes()
