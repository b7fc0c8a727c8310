"""Calls: what a provider offers its tenants."""

from __future__ import annotations

CLOUD_CONNECT = """
GET    /cloud                                             restorers
GET    /cloud/cloudFailoverPlans                          operators
GET    /cloud/cloudFailoverPlans/{id}                     operators
POST   /cloud/cloudFailoverPlans/{id}?action=start        operators  unbuilt
POST   /cloud/cloudFailoverPlans/{id}?action=test         operators  unbuilt
POST   /cloud/cloudFailoverPlans/{id}?action=undo         operators  unbuilt
PUT    /cloud/cloudFailoverPlans/{id}                     administrator  unbuilt
DELETE /cloud/cloudFailoverPlans/{id}                     administrator  unbuilt
GET    /cloud/cloudFailoverPlans/{id}/includes            operators
GET    /cloud/cloudFailoverPlans/{id}/includes/{item}     operators
GET    /cloud/failoverSessions                            restorers
GET    /cloud/failoverSessions/{id}                       restorers
GET    /cloud/gatewayPools                                users
POST   /cloud/gatewayPools                                users  unbuilt
GET    /cloud/gatewayPools/{id}                           users
PUT    /cloud/gatewayPools/{id}                           users  unbuilt
DELETE /cloud/gatewayPools/{id}                           users  unbuilt
GET    /cloud/gatewayPools/{id}/gateways                  users
GET    /cloud/gateways                                    users
POST   /cloud/gateways                                    users  unbuilt
GET    /cloud/gateways/{id}                               users
PUT    /cloud/gateways/{id}                               users  unbuilt
DELETE /cloud/gateways/{id}                               users  unbuilt
GET    /cloud/hardwarePlans                               users
POST   /cloud/hardwarePlans                               users  unbuilt
GET    /cloud/hardwarePlans/{id}                          users
PUT    /cloud/hardwarePlans/{id}                          users  unbuilt
DELETE /cloud/hardwarePlans/{id}                          users  unbuilt
GET    /cloud/hardwarePlans/{id}/tenants                  users
GET    /cloud/publicIpAddresses                           users
POST   /cloud/publicIpAddresses                           users  unbuilt
GET    /cloud/publicIpAddresses/{id}                      users
PUT    /cloud/publicIpAddresses/{id}                      users  unbuilt
DELETE /cloud/publicIpAddresses/{id}                      users  unbuilt
GET    /cloud/replicas                                    users
GET    /cloud/replicas/{id}                               users
GET    /cloud/replicas/{id}/vmReplicaPoints               users
GET    /cloud/tenants                                     users
POST   /cloud/tenants                                     users  unbuilt
GET    /cloud/tenants/{id}                                users
PUT    /cloud/tenants/{id}                                users  unbuilt
DELETE /cloud/tenants/{id}                                users  unbuilt
GET    /cloud/tenants/{id}/computeResources               users
POST   /cloud/tenants/{id}/computeResources               users  unbuilt
GET    /cloud/tenants/{id}/computeResources/{item}        users
DELETE /cloud/tenants/{id}/computeResources/{item}        users  unbuilt
GET    /cloud/tenants/{id}/freelicenseCounters            users  unbuilt
GET    /cloud/tenants/{id}/gatewayPools                   users
GET    /cloud/tenants/{id}/resources                      users
POST   /cloud/tenants/{id}/resources                      users  unbuilt
GET    /cloud/tenants/{id}/resources/{item}               users
DELETE /cloud/tenants/{id}/resources/{item}               users  unbuilt
GET    /cloud/tenants/{id}/subtenants                     users
POST   /cloud/tenants/{id}/subtenants                     users  unbuilt
GET    /cloud/tenants/{id}/subtenants/{item}              users
PUT    /cloud/tenants/{id}/subtenants/{item}              users  unbuilt
DELETE /cloud/tenants/{id}/subtenants/{item}              users  unbuilt
GET    /cloud/tenants/{id}/vCloudComputeResources         users
POST   /cloud/tenants/{id}/vCloudComputeResources         users  unbuilt
GET    /cloud/tenants/{id}/vCloudComputeResources/{item}  users
DELETE /cloud/tenants/{id}/vCloudComputeResources/{item}  users  unbuilt
GET    /cloud/vlans                                       users
GET    /cloud/vlans/{id}                                  users
PUT    /cloud/vlans/{id}                                  users  unbuilt
DELETE /cloud/vlans/{id}                                  users  unbuilt
GET    /cloud/vmReplicaPoints                             users
GET    /cloud/vmReplicaPoints/{id}                        users
"""
