"""Holdfast: one place to run, watch, query and restore backups across many backup servers."""

from importlib.metadata import version

__version__ = version("holdfast")
