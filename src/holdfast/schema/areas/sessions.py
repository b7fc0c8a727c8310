"""Calls: sessions, task sessions, and tasks."""

from __future__ import annotations

SESSIONS = """
GET    /backupSessions                            users
GET    /backupSessions/{id}                       users
POST   /backupSessions/{id}?action=stop           administrator
GET    /backupSessions/{id}/taskSessions          users
GET    /backupTaskSessions                        users
GET    /backupTaskSessions/{id}                   users
GET    /jobs/{id}/backupSessions                  users
GET    /jobs/{id}/replicaSessions                 users
GET    /replicaSessions                           users
GET    /replicaSessions/{id}                      users
GET    /replicaSessions/{id}/repicaTaskSessions   users
GET    /replicaSessions/{id}/replicaTaskSessions  users
GET    /replicaTaskSessions                       users
GET    /replicaTaskSessions/{id}                  users
GET    /restoreSessions                           everyone
GET    /restoreSessions/{id}                      everyone
GET    /systemSessions                            administrator
GET    /systemSessions/{id}                       administrator
GET    /systemSessions/{id}/events                administrator
"""

TASKS = """
GET    /tasks       everyone
GET    /tasks/{id}  everyone
DELETE /tasks/{id}  everyone
"""
