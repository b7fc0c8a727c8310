"""Calls: accounts, roles, and scopes of restore."""

from __future__ import annotations

SECURITY = """
GET    /security                               administrator
GET    /security/accounts                      administrator
POST   /security/accounts                      administrator
POST   /security/accounts?action=rebuildScope  administrator
GET    /security/accounts/{id}                 administrator
POST   /security/accounts/{id}                 administrator
DELETE /security/accounts/{id}                 administrator
GET    /security/accounts/{id}/roles           administrator
POST   /security/accounts/{id}/roles           administrator
GET    /security/accounts/{id}/roles/{item}    administrator
DELETE /security/accounts/{id}/roles/{item}    administrator
GET    /security/accounts/{id}/scopes          administrator
POST   /security/accounts/{id}/scopes          administrator
GET    /security/accounts/{id}/scopes/{item}   administrator
DELETE /security/accounts/{id}/scopes/{item}   administrator
GET    /security/roles                         administrator
GET    /security/roles/{id}                    administrator
"""
