"""Compressing what QEMU has written, by ourselves: judged by QEMU's own tools."""

from __future__ import annotations

import asyncio
import random
import resource
import subprocess
from pathlib import Path

import pytest

from holdfast.engine.errors import NoSpace, RepositoryUnavailable, SourceUnreadable
from holdfast.engine.image_packing import Packing, pack
from holdfast.engine.qcow2_data import stored_data_size

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CLUSTER = 64 * KIB


def run(*arguments: object) -> str:
    done = subprocess.run(list(map(str, arguments)), check=True, capture_output=True, text=True)
    return done.stdout


def qemu_io(path: Path, *commands: str) -> None:
    arguments = [each for command in commands for each in ("-c", command)]
    run("qemu-io", "-f", "qcow2", *arguments, path)


def made(path: Path, size: int, *options: object) -> Path:
    run("qemu-img", "create", "-q", "-f", "qcow2", *options, path, size)
    return path


def ignore(_fraction: float) -> None:
    pass


def text(chance: random.Random, size: int) -> bytes:
    words = [chance.randbytes(chance.randint(2, 9)).hex().encode() for _ in range(99)]
    return b" ".join(chance.choices(words, k=size // 4 + 1))[:size]


def written(path: Path, size: int, chance: random.Random, clusters: list[int]) -> None:
    """Write to clusters what can be compressed, what cannot, zeros, and zeros that are none."""
    content = path.with_suffix(".content")
    commands = []
    for number in clusters:
        at = number * CLUSTER
        length = min(CLUSTER, size - at)
        kind = chance.choice(["text", "text", "random", "zeros", "zeroed", "part"])
        if kind == "zeroed":
            commands.append(f"write -q -z {at} {length}")
            continue
        if kind == "part" and length == CLUSTER:
            at, length = at + 512 * chance.randrange(64), 512 * chance.randint(1, 64)
        made_of = {"random": chance.randbytes, "zeros": bytes}
        piece = content.with_name(f"{number}.content")
        piece.write_bytes(made_of.get(kind, lambda n: text(chance, n))(length))
        commands.append(f"write -q -s {piece} {at} {length}")
    for begun in range(0, len(commands), 100):
        qemu_io(path, *commands[begun : begun + 100])


async def assert_holds_the_same(layer: Path, packed: Path, backing: Path | None) -> None:
    said = run("qemu-img", "check", "-f", "qcow2", packed)
    assert "No errors were found" in said
    run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", layer, packed)
    extents = [
        run("qemu-img", "map", "--output=json", "-f", "qcow2", image).count('"depth": 0')
        for image in (layer, packed)
    ]
    assert (extents[0] == 0) == (extents[1] == 0)
    assert await stored_data_size(packed) <= await stored_data_size(layer)
    header = run("qemu-img", "info", "-f", "qcow2", packed)
    assert "compression type: zstd" in header
    assert (f"backing file: {backing.name}" in header) if backing else "backing" not in header


@pytest.mark.parametrize("size", [512, CLUSTER, 20 * MIB + 512, 1200 * MIB])
@pytest.mark.parametrize("on_another", [False, True])
async def test_what_qemu_wrote_here_and_there(tmp_path: Path, size: int, on_another: bool) -> None:
    chance = random.Random(size + on_another)
    clusters = -(-size // CLUSTER)
    options: list[object] = []
    backing = tmp_path / "below ü.qcow2" if on_another else None
    if backing is not None:
        made(backing, size)
        below = sorted(chance.sample(range(clusters), min(clusters, 60)))
        written(backing, size, chance, below)
        options = ["-b", backing, "-F", "qcow2"]
    layer = made(tmp_path / "layer.qcow2", size, *options)
    for round in range(2):
        packed = tmp_path / f"packed{round}.qcow2"
        name = None if backing is None else backing.name
        await pack(Packing(layer, packed, name, 3), ignore)
        await assert_holds_the_same(layer, packed, backing)
        chosen = chance.sample(range(clusters), min(clusters, 150))
        written(layer, size, chance, [*chosen, 0, clusters - 1])


async def test_a_disk_that_is_full_of_one_kind(tmp_path: Path) -> None:
    chance = random.Random(2)
    contents = [text(chance, 6 * MIB), chance.randbytes(6 * MIB), b"ab" * 3 * MIB, bytes(6 * MIB)]
    sizes = []
    for number, content in enumerate(contents):
        raw, layer = tmp_path / f"{number}.raw", tmp_path / f"{number}.qcow2"
        raw.write_bytes(content)
        made(layer, 6 * MIB)
        qemu_io(layer, f"write -q -s {raw} 0 {6 * MIB}")
        packed = tmp_path / f"{number}.packed"
        fractions: list[float] = []
        await pack(Packing(layer, packed, None, 1), fractions.append)
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        await assert_holds_the_same(layer, packed, None)
        sizes.append(packed.stat().st_size)
    overhead = 5 * CLUSTER  # header, two tables, counts and their table
    assert sizes[0] < 4 * MIB
    assert sizes[1] == 6 * MIB + overhead
    # One cluster holds all of them, a few bytes each, and the file's counts say so.
    assert sizes[2] == CLUSTER + overhead
    assert sizes[3] == overhead - CLUSTER


async def test_next_to_nothing_is_left_empty_between_what_is_compressed_and_what_is_not(
    tmp_path: Path,
) -> None:
    chance = random.Random(3)
    raw, layer = tmp_path / "a.raw", made(tmp_path / "a.qcow2", 32 * MIB)
    pieces = [text(chance, 512 * KIB) + chance.randbytes(512 * KIB) for _ in range(32)]
    raw.write_bytes(b"".join(pieces))
    qemu_io(layer, f"write -q -s {raw} 0 {32 * MIB}")
    packed = tmp_path / "packed.qcow2"
    await pack(Packing(layer, packed, None, 3), ignore)
    frames = made(tmp_path / "frames.qcow2", 16 * MIB)
    raw.write_bytes(b"".join(piece[: 512 * KIB] for piece in pieces))
    qemu_io(frames, f"write -q -s {raw} 0 {16 * MIB}")
    await pack(Packing(frames, tmp_path / "text.qcow2", None, 3), ignore)
    least = (tmp_path / "text.qcow2").stat().st_size + 16 * MIB
    assert packed.stat().st_size < 1.03 * least


async def test_what_is_not_written_for_us_is_refused(tmp_path: Path) -> None:
    raw = tmp_path / "a.raw"
    raw.write_bytes(b"a" * MIB)
    others = {
        "is compressed already": ["-c"],
        "clusters are not of 64 KiB": ["-o", "cluster_size=4096"],
        "has tables that no backup file has": ["-o", "extended_l2=on"],
    }
    for number, (reason, options) in enumerate(others.items()):
        layer, packed = tmp_path / f"{number}.qcow2", tmp_path / f"{number}.packed"
        run("qemu-img", "convert", *options, "-O", "qcow2", raw, layer)
        with pytest.raises(SourceUnreadable, match=reason):
            await pack(Packing(layer, packed, None, 3), ignore)
    with pytest.raises(SourceUnreadable, match="is damaged: it does not begin"):
        await pack(Packing(raw, tmp_path / "b.packed", None, 3), ignore)
    with pytest.raises(SourceUnreadable, match="cannot be read: No such file"):
        await pack(Packing(tmp_path / "none.qcow2", tmp_path / "c.packed", None, 3), ignore)


async def test_a_layer_that_is_cut_off_is_told(tmp_path: Path) -> None:
    chance = random.Random(4)
    layer, raw = made(tmp_path / "a.qcow2", 4 * MIB), tmp_path / "a.raw"
    raw.write_bytes(chance.randbytes(4 * MIB))
    qemu_io(layer, f"write -q -s {raw} 0 {4 * MIB}")
    with layer.open("r+b") as file:
        file.truncate(layer.stat().st_size - 2 * MIB)
    with pytest.raises(SourceUnreadable, match="is cut off"):
        await pack(Packing(layer, tmp_path / "packed.qcow2", None, 3), ignore)


async def test_a_target_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    chance = random.Random(5)
    layer, raw = made(tmp_path / "a.qcow2", 4 * MIB), tmp_path / "a.raw"
    raw.write_bytes(chance.randbytes(4 * MIB))
    qemu_io(layer, f"write -q -s {raw} 0 {4 * MIB}")
    with pytest.raises(RepositoryUnavailable, match=r"The folder .*gone does not exist"):
        await pack(Packing(layer, tmp_path / "gone" / "packed.qcow2", None, 3), ignore)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))
    try:
        with pytest.raises(NoSpace, match=r"packed\.qcow2"):
            await pack(Packing(layer, tmp_path / "packed.qcow2", None, 3), ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_cancelled_it_ends_at_once(tmp_path: Path) -> None:
    chance = random.Random(6)
    layer, raw = made(tmp_path / "a.qcow2", 64 * MIB), tmp_path / "a.raw"
    raw.write_bytes(text(chance, 64 * MIB))
    qemu_io(layer, f"write -q -s {raw} 0 {64 * MIB}")
    fractions: list[float] = []
    packing = asyncio.create_task(
        pack(Packing(layer, tmp_path / "packed.qcow2", None, 19), fractions.append)
    )
    while not fractions:
        await asyncio.sleep(0.01)
    packing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await packing
    told = len(fractions)
    await asyncio.sleep(0.2)
    assert len(fractions) == told
    assert max(fractions) < 1.0
