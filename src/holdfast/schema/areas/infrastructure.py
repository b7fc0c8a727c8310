"""Calls: the way in, backup servers, what they have, and their jobs."""

from __future__ import annotations

CORE = """
GET    /                                               everyone
GET    /backupFiles                                    users
GET    /backupFiles/{id}                               users
GET    /backupFiles/{id}/restorePoints                 restorers
GET    /backupFiles/{id}/vmRestorePoints               users
GET    /backups                                        restorers
GET    /backups/{id}                                   restorers
GET    /backups/{id}/backupFiles                       users
GET    /backups/{id}/childbackups                      restorers
GET    /backups/{id}/restorePoints                     restorers
GET    /backupServers                                  users
POST   /backupServers[action=create]                   administrator
GET    /backupServers/{id}                             users
POST   /backupServers/{id}?action=collect              users
POST   /backupServers/{id}?action=quickbackup          users
POST   /backupServers/{id}?action=veeamzip             users
PUT    /backupServers/{id}                             administrator
DELETE /backupServers/{id}                             administrator
GET    /backupServers/{id}/credentials                 users
POST   /backupServers/{id}/credentials[action=create]  administrator
GET    /backupServers/{id}/credentials/{item}          users
PUT    /backupServers/{id}/credentials/{item}          administrator
DELETE /backupServers/{id}/credentials/{item}          administrator
GET    /backupServers/{id}/externalRepositories        users
GET    /backupServers/{id}/jobs                        administrator
GET    /backupServers/{id}/managedServers              users
GET    /backupServers/{id}/passwords                   users
POST   /backupServers/{id}/passwords[action=create]    administrator
GET    /backupServers/{id}/passwords/{item}            users
PUT    /backupServers/{id}/passwords/{item}            administrator
DELETE /backupServers/{id}/passwords/{item}            administrator
GET    /backupServers/{id}/repositories                users
GET    /externalRepositories                           users
GET    /externalRepositories/{id}                      users
GET    /externalRepositories/{id}/backups              users
GET    /hierarchyRoots                                 users
GET    /hierarchyRoots/{id}                            users
GET    /jobs                                           administrator
GET    /jobs/{id}                                      administrator
POST   /jobs/{id}?action=clone                         administrator
POST   /jobs/{id}?action=retry                         administrator
POST   /jobs/{id}?action=start                         administrator
POST   /jobs/{id}?action=stop                          administrator
POST   /jobs/{id}?action=sync                          administrator  unbuilt
POST   /jobs/{id}?action=toggleScheduleEnabled         administrator
PUT    /jobs/{id}[action=edit]                         administrator
DELETE /jobs/{id}                                      administrator
GET    /jobs/{id}/includes                             administrator
POST   /jobs/{id}/includes                             administrator
GET    /jobs/{id}/includes/{item}                      administrator
DELETE /jobs/{id}/includes/{item}                      administrator
GET    /jobs/{id}/linkedBackupRepositories             administrator
POST   /jobs/{id}/linkedBackupRepositories             administrator  unbuilt
DELETE /jobs/{id}/linkedBackupRepositories/{item}      administrator  unbuilt
GET    /jobs/{id}/linkedJobs                           administrator
POST   /jobs/{id}/linkedJobs                           administrator  unbuilt
DELETE /jobs/{id}/linkedJobs/{item}                    administrator  unbuilt
GET    /logonSessions                                  everyone
GET    /logonSessions/{id}                             everyone
DELETE /logonSessions/{id}                             everyone
GET    /managedServers                                 users
GET    /managedServers/{id}                            users
GET    /repositories                                   users
GET    /repositories/{id}                              users
GET    /repositories/{id}/backups                      restorers
GET    /repositories/{id}/replicas                     restorers
POST   /sessionMngr                                    everyone
GET    /wanAccelerators                                users
GET    /wanAccelerators/{id}                           users
"""
