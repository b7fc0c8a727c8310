"""Disk images of machines that are off: inspect, back up, copy, restore, merge, remove.

The ways in, gathered; each lives in a module of its own.
"""

from pathlib import Path

from holdfast.engine.byte_copy import CopyPlan
from holdfast.engine.durability import remove_durably
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_backup import ImagePlan, ImageResult, back_up_image
from holdfast.engine.image_copy import copy_image, copy_image_anew, copy_small_file
from holdfast.engine.image_merge import MergeResult, is_merged, merge_into_parent
from holdfast.engine.image_restore import restore_image
from holdfast.engine.image_source import ImageInfo, inspect

__all__ = [
    "CopyPlan",
    "ImageInfo",
    "ImagePlan",
    "ImageResult",
    "MergeResult",
    "back_up_image",
    "copy_image",
    "copy_image_anew",
    "copy_small_file",
    "inspect",
    "is_merged",
    "merge_into_parent",
    "remove_image",
    "restore_image",
]


async def remove_image(path: Path) -> None:
    """Delete a backup file for good; a missing one is fine.

    Nothing is asked about files that depend on it: that is the chain's question.
    """
    try:
        await remove_durably(path)
    except OSError as error:
        raise writing_failure(error, path) from error
