"""Calls: backups of file shares."""

from __future__ import annotations

NAS = """
GET    /nas                                  users
GET    /nas/backupSessions                   users
GET    /nas/fileServers                      users
GET    /nas/fileServers/{id}                 users
GET    /nas/jobs                             administrator
GET    /nas/jobs/{id}                        administrator
GET    /nas/jobs/{id}/backupSessions         users
GET    /nas/jobs/{id}/includes               administrator
GET    /nas/jobs/{id}/includes/{item}        administrator
POST   /nas/jobs/{id}/retry                  administrator  unbuilt
POST   /nas/jobs/{id}/start                  administrator  unbuilt
POST   /nas/jobs/{id}/stop                   administrator  unbuilt
POST   /nas/jobs/{id}/toggleScheduleEnabled  administrator  unbuilt
"""
