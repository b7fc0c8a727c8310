"""The names and references the server gives to what it makes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid5

from holdfast.server.clock import moment_of


def imported_folder(backup: UUID) -> str:
    """Return what the job of an imported backup has as its folder's name: it never makes one."""
    return f"imported {backup}"


def session_name(subject: str, created: int) -> str:
    """Given a job or machine name and a creation time in milliseconds, return a session's name.

    For example ``Nightly@2021-09-24 20:00:09``, in UTC. Points of a machine are named so too.
    """
    return f"{subject}@{moment_of(created):%Y-%m-%d %H:%M:%S}"


def restore_point_name(created: int) -> str:
    """Given a creation time in milliseconds, return a name such as ``Aug 26 2013  7:57AM``."""
    moment = moment_of(created)
    # Not %b and %p: these follow the process's locale, and clients read these names.
    return f"{_MONTHS[moment.month - 1]} {moment.day:2} {moment.year} {_twelve_hours(moment)}"


def clone_name(moment: datetime) -> str:
    """Given the present in UTC, return a name such as ``Cloned job (6/5/2021 3:04:23 AM)``."""
    hour, half = moment.hour % 12 or 12, "AM" if moment.hour < 12 else "PM"
    return f"Cloned job ({moment.month}/{moment.day}/{moment.year} {hour}:{moment:%M:%S} {half})"


def host_reference(managed_server: UUID) -> str:
    """Given a host's UID, return its own hierarchy reference."""
    return f"urn:Qemu:Host:{managed_server}.{managed_server}"


def image_reference(managed_server: UUID, path: str) -> str:
    """Given a host's UID and the path of a disk image on it, return its hierarchy reference."""
    return f"urn:Qemu:Vm:{managed_server}.{uuid5(managed_server, path)}"


def directory_reference(managed_server: UUID, path: str) -> str:
    """Given a host's UID and the path of a directory on it, return its hierarchy reference."""
    return f"urn:NasBackup:FileServer:{managed_server}.{uuid5(managed_server, path)}"


def image_file_name(machine: str, created: int, point: UUID) -> str:
    """Given a machine, a moment and a point's UID, return a file name in which nothing can collide.

    It says neither full nor increment: the engine decides that, and retention changes it.
    """
    return f"{point_name(machine, created, point)}.qcow2"


def point_name(machine: str, created: int, point: UUID) -> str:
    """As `image_file_name`, without an ending: what the files of a point begin with."""
    return f"{machine}.{moment_of(created):%Y-%m-%dT%H%M%SZ}.{point.hex[:12]}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _twelve_hours(moment: datetime) -> str:
    return f"{moment.hour % 12 or 12:2}:{moment:%M}{'AM' if moment.hour < 12 else 'PM'}"
