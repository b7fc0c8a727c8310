"""Calls: restore points, and restoring files from them."""

from __future__ import annotations

RESTORE = """
GET    /restorePoints                                              restorers
GET    /restorePoints/{id}                                         restorers
GET    /restorePoints/{id}/agentRestorePoints                      users
GET    /restorePoints/{id}/backupFiles                             users
GET    /restorePoints/{id}/vAppRestorePoints                       restorers
GET    /restorePoints/{id}/vmRestorePoints                         users
GET    /vAppRestorePoints                                          restorers
GET    /vAppRestorePoints/{id}                                     restorers
POST   /vAppRestorePoints/{id}?action=restore                      restorers  unbuilt
GET    /vmRestorePoints                                            restorers
GET    /vmRestorePoints/{id}                                       restorers
POST   /vmRestorePoints/{id}?action=restore                        vm-restorers
GET    /vmRestorePoints/{id}/mounts                                file-restorers
POST   /vmRestorePoints/{id}/mounts                                file-restorers
GET    /vmRestorePoints/{id}/mounts/{item}                         file-restorers
DELETE /vmRestorePoints/{id}/mounts/{item}                         file-restorers
GET    /vmRestorePoints/{id}/mounts/{item}/{path}                  restorers
GET    /vmRestorePoints/{id}/mounts/{item}/{path}?action=download  file-restorers
GET    /vmRestorePoints/{id}/mounts/{item}/{path}?action=list*     restorers
POST   /vmRestorePoints/{id}/mounts/{item}/{path}?action=restore   file-restorers
"""
