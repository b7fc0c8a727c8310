"""Directory repositories."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.durability import publish, sha256_of, write_json
from holdfast.engine.errors import RepositoryUnavailable
from holdfast.engine.repository import MARKER_NAME, DirectoryRepository, folder_name


@pytest.fixture
def repository(tmp_path: Path) -> DirectoryRepository:
    return DirectoryRepository.create(tmp_path / "repository", "uid-1")


def test_a_made_repository_is_found_again_and_has_space(repository: DirectoryRepository) -> None:
    again = DirectoryRepository.open(repository.path)
    assert again.ensure_available() == "uid-1"
    space = again.space()
    assert 0 < space.free <= space.capacity
    assert DirectoryRepository.create(repository.path, "uid-1").uid == "uid-1"


def test_an_unmounted_disk_is_not_an_empty_repository(repository: DirectoryRepository) -> None:
    (repository.path / MARKER_NAME).unlink()
    with pytest.raises(RepositoryUnavailable, match="mounted"):
        repository.space()
    with pytest.raises(RepositoryUnavailable):
        repository.folder_for("job")
    assert list(repository.path.iterdir()) == []


def test_another_repository_in_the_same_place_is_refused(repository: DirectoryRepository) -> None:
    with pytest.raises(RepositoryUnavailable, match="another repository: uid-1"):
        DirectoryRepository.open(repository.path, "uid-2")
    with pytest.raises(RepositoryUnavailable, match="another repository"):
        DirectoryRepository.create(repository.path, "uid-2")


@pytest.mark.parametrize("content", ["", "{", '{"uid": 3}', '{"uid": "uid-1", "format": 99}'])
def test_a_damaged_or_newer_marker_is_told(repository: DirectoryRepository, content: str) -> None:
    (repository.path / MARKER_NAME).write_text(content)
    with pytest.raises(RepositoryUnavailable, match=r"damaged|format 99"):
        repository.ensure_available()


@given(st.text())
def test_a_folder_name_is_always_one_harmless_name(text: str) -> None:
    name = folder_name(text)
    assert name == Path(name).name
    assert name not in ("", ".", "..", MARKER_NAME)
    assert ":" not in name
    assert "\0" not in name
    assert len(name.encode()) <= 120


@given(st.lists(st.text(), unique=True, max_size=20))
def test_different_jobs_never_share_a_folder(texts: list[str]) -> None:
    assert len({folder_name(text) for text in texts}) == len(texts)


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc", "a/b", "/etc", "a\0b"])
def test_what_names_no_folder_in_the_repository_is_refused(
    repository: DirectoryRepository, name: str
) -> None:
    before = list(repository.path.parent.rglob("*"))
    with pytest.raises(RepositoryUnavailable, match="not the name of a folder"):
        repository.folder_for(name)
    assert list(repository.path.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "name", [folder_name("Б" * 60), folder_name("holdfast-repository"), "a [b] & c: d?", " x. "]
)
def test_a_folder_has_the_very_name_it_is_asked_for(
    repository: DirectoryRepository, name: str
) -> None:
    folder = repository.folder_for(name)
    assert folder == repository.path / name
    assert folder.is_dir()
    assert repository.folder_for(name) == folder


def test_a_link_or_a_file_is_no_folder_of_the_repository(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    (repository.path / "job").symlink_to(tmp_path)
    with pytest.raises(RepositoryUnavailable, match="not a folder inside"):
        repository.folder_for("job")
    with pytest.raises(RepositoryUnavailable):
        repository.folder_for(MARKER_NAME)


async def test_only_partial_files_are_swept(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    folder = repository.folder_for("job")
    (folder / "a.qcow2.partial").write_text("half")
    (folder / "a.qcow2").write_text("whole")
    (folder / "folder.partial").mkdir()
    (tmp_path / "outside").write_text("not ours")
    (folder / "link.partial").symlink_to(tmp_path / "outside")
    assert await repository.sweep_partial(folder) == ["a.qcow2.partial"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.qcow2",
        "folder.partial",
        "link.partial",
    ]
    with pytest.raises(RepositoryUnavailable):
        await repository.sweep_partial(tmp_path)


async def test_publishing_never_replaces_a_file_unless_told(tmp_path: Path) -> None:
    partial, target = tmp_path / "a.partial", tmp_path / "a"
    partial.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        await publish(partial, target)
    assert target.read_text() == "old"
    await publish(partial, target, overwrite=True)
    assert target.read_text() == "new"
    assert not partial.exists()


async def test_hashing_tells_how_far_it_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc" * 3_000_000)
    seen: list[int] = []
    assert await sha256_of(file, seen.append) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert seen == [4 * 1024 * 1024, 8 * 1024 * 1024, 9_000_000]


def test_a_json_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]
