"""Calls: the summary report, and looking up objects."""

from __future__ import annotations

REPORTS = """
GET    /reports/summary                 users
GET    /reports/summary/job_statistics  users
GET    /reports/summary/overview        users
GET    /reports/summary/processed_vms   users
GET    /reports/summary/repository      users
GET    /reports/summary/vms_overview    users
"""

LOOKUP = """
GET    /lookup     users
GET    /lookupSvc  users
"""
