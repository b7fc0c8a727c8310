"""Which images may be read: a guest must not make a backup read files of the host."""

# ruff: noqa: ASYNC221 - a test has the event loop for itself

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.errors import SourceMissing, SourceUnreadable
from holdfast.engine.image import ImagePlan, back_up_image, inspect, restore_image
from holdfast.engine.qcow2_header import MAGIC, NotQcow2Error, parse_header

from .lab import MIB, Disk

MakeDisk = Callable[..., Disk]


def overlay(path: Path, backing: str, backing_format: str = "raw") -> Path:
    arguments = ["-u", "-b", backing, "-F", backing_format, os.fspath(path), str(MIB)]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *arguments], check=True)
    return path


@pytest.mark.parametrize("format", ["raw", "qcow2"])
async def test_the_probe_tells_raw_from_qcow2(make_disk: MakeDisk, format: str) -> None:
    disk = make_disk(format)
    info = await inspect(disk.path)
    assert (info.format, info.virtual_size, info.backing) == (format, disk.size, None)


async def test_a_guest_made_header_is_not_followed(tmp_path: Path, folder: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:hash" * 1000)
    disk = overlay(tmp_path / "guest.raw", str(secret))
    with pytest.raises(SourceUnreadable, match="only when the format of the disk is given"):
        await back_up_image(ImagePlan(disk, folder / "a.qcow2"))
    # Told that it is raw, it is copied as what it is.
    await back_up_image(ImagePlan(disk, folder / "a.qcow2", source_format="raw"))
    await restore_image(folder / "a.qcow2", tmp_path / "out")
    assert (tmp_path / "out").read_bytes()[: disk.stat().st_size] == disk.read_bytes()


async def test_a_backing_file_in_the_folder_of_the_image_is_read_when_the_format_is_given(
    tmp_path: Path, folder: Path
) -> None:
    content = os.urandom(MIB)
    (tmp_path / "base.raw").write_bytes(content)
    disk = overlay(tmp_path / "clone.qcow2", "base.raw")
    info = await inspect(disk, "qcow2")
    assert info.backing == tmp_path / "base.raw"
    assert info.files == (disk, tmp_path / "base.raw")
    for name, parent in (("a", None), ("b", folder / "a.qcow2")):
        plan = ImagePlan(disk, folder / f"{name}.qcow2", parent, "qcow2")
        result = await back_up_image(plan)
        await restore_image(result.path, tmp_path / name)
        assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    "backing",
    [
        "/etc/passwd",
        "../outside.raw",
        'json:{"driver":"file","filename":"/etc/passwd"}',
        "nbd:localhost:10809",
        "fat:/etc",
    ],
)
async def test_backing_names_that_leave_the_folder_are_refused(
    tmp_path: Path, backing: str
) -> None:
    (tmp_path / "outside.raw").write_bytes(bytes(MIB))
    (tmp_path / "images").mkdir()
    disk = overlay(tmp_path / "images" / "disk.qcow2", backing)
    with pytest.raises(SourceUnreadable, match="is built on"):
        await inspect(disk, "qcow2")


async def test_a_link_that_leads_a_backing_file_outside_is_refused(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "base.raw").symlink_to("/etc/passwd")
    disk = overlay(images / "disk.qcow2", "base.raw")
    with pytest.raises(SourceUnreadable, match="outside its own folder"):
        await inspect(disk, "qcow2")


async def test_an_external_data_file_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    option = f"data_file={tmp_path / 'data.raw'}"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", option, disk, "1M"], check=True
    )
    with pytest.raises(SourceUnreadable, match="another file"):
        await inspect(disk)


async def test_a_missing_backing_file_is_named(tmp_path: Path) -> None:
    disk = overlay(tmp_path / "disk.qcow2", "base.raw")
    with pytest.raises(SourceMissing, match=r"base\.raw"):
        await inspect(disk, "qcow2")


async def test_what_is_no_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="neither a regular file"):
        await inspect(tmp_path)
    with pytest.raises(SourceUnreadable, match="neither a regular file"):
        await inspect(Path("/dev/null"))
    with pytest.raises(SourceUnreadable, match="only raw and qcow2"):
        await inspect(tmp_path, "vmdk")
    with pytest.raises(SourceMissing):
        await inspect(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(SourceUnreadable):
        await inspect(tmp_path / "circle")


async def test_a_raw_image_is_counted_in_whole_sectors(tmp_path: Path) -> None:
    odd = tmp_path / "odd.raw"
    odd.write_bytes(b"x" * 1000)
    assert (await inspect(odd)).virtual_size == 1024


@given(st.binary(max_size=200))
def test_no_header_makes_the_parser_fail_in_an_unknown_way(tail: bytes) -> None:
    try:
        parse_header(MAGIC + tail)
    except NotQcow2Error:
        return
