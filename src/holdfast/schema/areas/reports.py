"""Calls: the summary report, and looking up objects."""

from __future__ import annotations

REPORTS = """
GET    /reports/summary                 users  unbuilt
GET    /reports/summary/job_statistics  users  unbuilt
GET    /reports/summary/overview        users  unbuilt
GET    /reports/summary/processed_vms   users  unbuilt
GET    /reports/summary/repository      users  unbuilt
GET    /reports/summary/vms_overview    users  unbuilt
"""

LOOKUP = """
GET    /lookup     users  unbuilt
GET    /lookupSvc  users  unbuilt
"""
