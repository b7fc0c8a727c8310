"""How much data a qcow2 file holds, as its tables say and as qemu-img does."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from holdfast.engine.errors import ChainBroken
from holdfast.engine.qcow2_data import stored_data_size

MIB = 1 << 20


def made(path: Path, size: int, *options: object) -> Path:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *map(str, options), str(path), str(size)],
        check=True,
    )
    return path


def work_on(path: Path, *commands: str) -> None:
    arguments = [each for command in commands for each in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *arguments, str(path)], check=True, text=True)


def shrink(path: Path, size: int) -> None:
    subprocess.run(["qemu-img", "resize", "-q", "--shrink", str(path), str(size)], check=True)


def told_by_qemu(path: Path) -> int:
    done = subprocess.run(
        ["qemu-img", "map", "--output=json", "-f", "qcow2", str(path)],
        check=True,
        capture_output=True,
    )
    extents = json.loads(done.stdout)
    return sum(each["length"] for each in extents if each["data"] and each["depth"] == 0)


@pytest.mark.parametrize("cluster", [512, 4096, 65536, 2 * MIB])
@pytest.mark.parametrize("compressed", [False, True])
async def test_what_qemu_wrote_here_and_there(
    tmp_path: Path, cluster: int, compressed: bool
) -> None:
    size = 20 * MIB + 512
    base = made(tmp_path / "base.qcow2", size)
    work_on(base, f"write -q 0 {4 * MIB}")
    path = tmp_path / "disk.qcow2"
    backing = ["-b", base, "-F", "qcow2"]
    made(path, size, "-o", f"cluster_size={cluster},compression_type=zstd", *backing)
    assert await stored_data_size(path) == 0
    chance = random.Random(cluster)
    commands = [f"write -q -P 7 {size - 512} 512"]
    if compressed:
        whole = max(cluster, 65536)
        commands += [f"write -q -c -P 9 {MIB * at} {whole}" for at in (2, 6, 16)]
    for _ in range(12):
        kind = chance.choice(["write -q -P 5", "write -q -z", "write -q -z -u", "discard -q"])
        start = chance.randrange(0, 18 * MIB, 512)
        commands.append(f"{kind} {start} {chance.choice([512, 70_144, MIB])}")
    work_on(path, *commands)
    assert await stored_data_size(path) == told_by_qemu(path) > 0


async def test_disk_that_shrank_counts_only_what_it_has(tmp_path: Path) -> None:
    path = made(tmp_path / "disk.qcow2", 2048 * MIB)
    work_on(path, f"write -q 0 {MIB}", f"write -q {2000 * MIB} {MIB}")
    assert await stored_data_size(path) == 2 * MIB
    shrink(path, MIB + 512)
    assert await stored_data_size(path) == told_by_qemu(path) == MIB


@pytest.mark.parametrize(
    "entry",
    [
        b"\x80\0\0\0\x7f\xff\0\0",
        b"\x80\0\0\0\0\x7f\0\0",
        b"\x80\xff\xff\xff\xff\xff\0\0",
    ],
)
async def test_table_beyond_the_end_is_damage(tmp_path: Path, entry: bytes) -> None:
    path = made(tmp_path / "disk.qcow2", 4 * MIB)
    work_on(path, f"write -q 0 {MIB}")
    with path.open("r+b") as file:
        file.seek(40)
        first_table = int.from_bytes(file.read(8), "big")
        file.seek(first_table)
        file.write(entry)
    with pytest.raises(ChainBroken, match="beyond its end"):
        await stored_data_size(path)


async def test_header_that_promises_millions_of_tables_is_not_believed(tmp_path: Path) -> None:
    path = made(tmp_path / "disk.qcow2", 4 * MIB)
    work_on(path, f"write -q 0 {MIB}")
    with path.open("r+b") as file:
        file.seek(36)
        file.write(b"\xff\xff\xff\xff")
    assert await stored_data_size(path) == MIB
    with path.open("r+b") as file:
        file.seek(24)
        file.write(b"\x7f" + 7 * b"\xff")
    with pytest.raises(ChainBroken, match="beyond its end"):
        await stored_data_size(path)
    with path.open("r+b") as file:
        file.seek(40)
        file.write(8 * b"\xff")
    with pytest.raises(ChainBroken, match="beyond its end"):
        await stored_data_size(path)
    path.write_bytes(b"no image at all")
    with pytest.raises(ChainBroken, match="magic"):
        await stored_data_size(path)


async def test_tables_that_no_backup_file_has_are_not_counted(tmp_path: Path) -> None:
    extended = made(tmp_path / "extended.qcow2", 4 * MIB, "-o", "extended_l2=on")
    elsewhere = f"data_file={tmp_path / 'data'}"
    apart = made(tmp_path / "apart.qcow2", 4 * MIB, "-o", elsewhere)
    for path in (extended, apart):
        with pytest.raises(ChainBroken, match="tables that no backup file has"):
            await stored_data_size(path)
