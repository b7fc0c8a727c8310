"""Calls: the query service and a query of each type."""

from __future__ import annotations

QUERY = """
GET    /query?type=AgentBackupJob            administrator
GET    /query?type=AgentProtectionGroup      administrator
GET    /query?type=AgentRestorePoint         users
GET    /query?type=Backup                    restorers
GET    /query?type=BackupFile                users
GET    /query?type=BackupJobSession          users
GET    /query?type=BackupServer              users
GET    /query?type=BackupTaskSession         users
GET    /query?type=CdpPolicy                 administrator
GET    /query?type=CdpReplica                administrator
GET    /query?type=CdpReplicaSession         users
GET    /query?type=CdpReplicaTaskSession     users
GET    /query?type=CloudFailoverPlan         operators
GET    /query?type=CloudFailoverSession      restorers
GET    /query?type=CloudGateway              users
GET    /query?type=CloudGatewayPool          users
GET    /query?type=CloudHardwarePlan         users
GET    /query?type=CloudPublicIpAddress      users
GET    /query?type=CloudReplica              users
GET    /query?type=CloudSubtenant            users
GET    /query?type=CloudTenant               users
GET    /query?type=CloudVmReplicaPoint       users
GET    /query?type=Credentials               users
GET    /query?type=DiscoveredComputer        administrator
GET    /query?type=FailoverPlan              operators
GET    /query?type=FileServer                users
GET    /query?type=HierarchyRoot             users
GET    /query?type=Job                       administrator
GET    /query?type=ManagedServer             users
GET    /query?type=NasJob                    administrator
GET    /query?type=NasObject                 administrator
GET    /query?type=ObjectInAgentBackupJob    administrator
GET    /query?type=ObjectInJob               administrator
GET    /query?type=Passwords                 users
GET    /query?type=Replica                   restorers
GET    /query?type=ReplicaJobSession         users
GET    /query?type=ReplicaTaskSession        users
GET    /query?type=Repository                users
GET    /query?type=RestorePoint              restorers
GET    /query?type=RestoreSession            restorers
GET    /query?type=Task                      restorers
GET    /query?type=VCloudOrganizationConfig  users
GET    /query?type=VlanConfiguration         administrator
GET    /query?type=VmReplicaPoint            restorers
GET    /query?type=VmRestorePoint            restorers
GET    /query?type=VsphereSelfServiceConfig  users
GET    /query?type=WanAccelerator            users
GET    /query?type=vAppReplicaPoint          restorers
GET    /query?type=vAppRestorePoint          restorers
GET    /querySvc                             restorers
"""
