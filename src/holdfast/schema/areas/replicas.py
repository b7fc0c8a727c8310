"""Calls: replicas, their points, failover plans."""

from __future__ import annotations

REPLICA = """
GET    /failoverPlans                                              failover
GET    /failoverPlans/{id}                                         failover
POST   /failoverPlans/{id}?action=start                            failover
POST   /failoverPlans/{id}?action=undo                             failover
PUT    /failoverPlans/{id}                                         administrator
GET    /replicas                                                   restorers
GET    /replicas/{id}                                              restorers
GET    /replicas/{id}/vmReplicaPoints                              restorers
GET    /vAppReplicaPoints                                          restorers
GET    /vAppReplicaPoints/{id}                                     restorers
POST   /vAppReplicaPoints/{id}?action=failover                     restorers  unbuilt
GET    /vmReplicaPoints                                            restorers
GET    /vmReplicaPoints/{id}                                       restorers
POST   /vmReplicaPoints/{id}?action=failover                       restorers
GET    /vmReplicaPoints/{id}/mounts                                file-restorers
POST   /vmReplicaPoints/{id}/mounts                                file-restorers
GET    /vmReplicaPoints/{id}/mounts/{item}                         file-restorers
DELETE /vmReplicaPoints/{id}/mounts/{item}                         file-restorers
GET    /vmReplicaPoints/{id}/mounts/{item}/{path}                  restorers
GET    /vmReplicaPoints/{id}/mounts/{item}/{path}?action=download  file-restorers
GET    /vmReplicaPoints/{id}/mounts/{item}/{path}?action=list*     restorers
POST   /vmReplicaPoints/{id}/mounts/{item}/{path}?action=restore   file-restorers
"""
