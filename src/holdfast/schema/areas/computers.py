"""Calls: backups of computers by agents."""

from __future__ import annotations

AGENTS = """
GET    /agents                                                               restorers
GET    /agents/agentRestorePoints                                            users
GET    /agents/agentRestorePoints/{id}                                       users
GET    /agents/agentRestorePoints/{id}/mounts                                file-restorers  unbuilt
POST   /agents/agentRestorePoints/{id}/mounts                                file-restorers  unbuilt
GET    /agents/agentRestorePoints/{id}/mounts/{item}                         file-restorers  unbuilt
DELETE /agents/agentRestorePoints/{id}/mounts/{item}                         file-restorers  unbuilt
GET    /agents/agentRestorePoints/{id}/mounts/{item}/{path}                  restorers  unbuilt
GET    /agents/agentRestorePoints/{id}/mounts/{item}/{path}?action=download  file-restorers  unbuilt
GET    /agents/agentRestorePoints/{id}/mounts/{item}/{path}?action=list*     restorers  unbuilt
POST   /agents/agentRestorePoints/{id}/mounts/{item}/{path}?action=restore   file-restorers  unbuilt
GET    /agents/backupFiles                                                   users
GET    /agents/backups                                                       restorers
GET    /agents/backupSessions                                                users
GET    /agents/discoveredComputers                                           administrator
GET    /agents/discoveredComputers/{id}                                      administrator
GET    /agents/jobs                                                          administrator
GET    /agents/jobs/{id}                                                     administrator
POST   /agents/jobs/{id}?action=retry                                        administrator  unbuilt
POST   /agents/jobs/{id}?action=start                                        administrator  unbuilt
POST   /agents/jobs/{id}?action=stop                                         administrator  unbuilt
POST   /agents/jobs/{id}?action=toggleScheduleEnabled                        administrator  unbuilt
GET    /agents/jobs/{id}/backupSessions                                      users
GET    /agents/jobs/{id}/includes                                            administrator
GET    /agents/jobs/{id}/includes/{item}                                     administrator
GET    /agents/protectionGroups                                              administrator
GET    /agents/protectionGroups/{id}                                         administrator
GET    /agents/protectionGroups/{id}/discoveredComputers                     administrator
GET    /agents/restorePoints                                                 restorers
GET    /backupSessions/{id}/agentManagementSessions                          users
"""
