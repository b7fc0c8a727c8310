"""Calls: organizations and users that help themselves."""

from __future__ import annotations

VCLOUD_SELFSERVICE = """
GET    /selfService/vSphere                                 users
GET    /selfService/vSphere/Configs                         users
POST   /selfService/vSphere/Configs                         administrator  unbuilt
GET    /selfService/vSphere/Configs/{id}                    users
PUT    /selfService/vSphere/Configs/{id}                    administrator  unbuilt
DELETE /selfService/vSphere/Configs/{id}                    administrator  unbuilt
GET    /selfService/vSphere/Configs/{id}/backupJobSettings  users  unbuilt
GET    /vCloud                                              users
GET    /vCloud/orgConfigs                                   users
POST   /vCloud/orgConfigs                                   administrator  unbuilt
GET    /vCloud/orgConfigs/{id}                              users
POST   /vCloud/orgConfigs/{id}?action=disable               users  unbuilt
PUT    /vCloud/orgConfigs/{id}                              administrator  unbuilt
DELETE /vCloud/orgConfigs/{id}                              administrator  unbuilt
GET    /vCloud/orgConfigs/{id}/backupJobSettings            users  unbuilt
"""
