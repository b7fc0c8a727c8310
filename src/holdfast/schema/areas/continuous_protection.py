"""Calls: continuous data protection."""

from __future__ import annotations

CDP = """
GET    /cdpPolicies                                     administrator
GET    /cdpPolicies/{id}                                administrator
POST   /cdpPolicies/{id}?action=disable                 administrator  unbuilt
POST   /cdpPolicies/{id}?action=enable                  administrator  unbuilt
PUT    /cdpPolicies/{id}                                administrator  unbuilt
GET    /cdpPolicies/{id}/cdpReplicaSessions             administrator
GET    /cdpPolicies/{id}/includes                       administrator
POST   /cdpPolicies/{id}/includes                       administrator  unbuilt
GET    /cdpPolicies/{id}/includes/{item}                administrator
DELETE /cdpPolicies/{id}/includes/{item}                administrator  unbuilt
GET    /cdpReplica/vApps                                administrator
GET    /cdpReplica/vApps/{id}                           administrator
POST   /cdpReplica/vApps/{id}?action=failover           administrator  unbuilt
POST   /cdpReplica/vApps/{id}?action=intervals          administrator  unbuilt
GET    /cdpReplica/vApps/{id}/vms                       administrator
GET    /cdpReplica/vApps/{id}/vms/{item}                administrator
GET    /cdpReplica/vms                                  administrator
GET    /cdpReplicas                                     administrator
GET    /cdpReplicas/{id}                                administrator
GET    /cdpReplicas/{id}/vms                            administrator
GET    /cdpReplicas/{id}/vms/{item}                     administrator
POST   /cdpReplicas/{id}/vms/{item}?action=failover     administrator  unbuilt
POST   /cdpReplicas/{id}/vms/{item}?action=intervals    administrator  unbuilt
GET    /cdpReplicaSessions                              users
GET    /cdpReplicaSessions/{id}                         users
GET    /cdpReplicaSessions/{id}/cdpReplicaTaskSessions  users
GET    /cdpReplicaTaskSessions                          users
GET    /cdpReplicaTaskSessions/{id}                     users
"""
