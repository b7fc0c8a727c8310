"""Calls: the catalog of indexed guest files."""

from __future__ import annotations

CATALOG = """
GET    /catalog/vms                                                          everyone
GET    /catalog/vms/{id}                                                     everyone
GET    /catalog/vms/{id}/vmRestorePoints                                     everyone
GET    /catalog/vms/{id}/vmRestorePoints/{item}                              everyone
POST   /catalog/vms/{id}/vmRestorePoints/{item}?action=browse                everyone
GET    /catalog/vms/{id}/vmRestorePoints/{item}/guestfs                      everyone
GET    /catalog/vms/{id}/vmRestorePoints/{item}/guestfs/{path}               everyone
GET    /catalog/vms/{id}/vmRestorePoints/{item}/guestfs/{path}?action=list*  everyone
POST   /catalog/vms/{id}/vmRestorePoints/{item}/guestfs/{path}?action=restore everyone
"""
