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
POST   /vmRestorePoints/{id}?action=restore                        vm-restorers  unbuilt
GET    /vmRestorePoints/{id}/mounts                                file-restorers  unbuilt
POST   /vmRestorePoints/{id}/mounts                                file-restorers  unbuilt
GET    /vmRestorePoints/{id}/mounts/{item}                         file-restorers  unbuilt
DELETE /vmRestorePoints/{id}/mounts/{item}                         file-restorers  unbuilt
GET    /vmRestorePoints/{id}/mounts/{item}/{path}                  restorers  unbuilt
GET    /vmRestorePoints/{id}/mounts/{item}/{path}?action=download  file-restorers  unbuilt
GET    /vmRestorePoints/{id}/mounts/{item}/{path}?action=list*     restorers  unbuilt
POST   /vmRestorePoints/{id}/mounts/{item}/{path}?action=restore   file-restorers  unbuilt
"""
