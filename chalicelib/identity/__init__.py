"""The standalone identity: as much of Keystone's v3 API as block storage and its clients need, from one document.

document.py        the document -> IdentityConfig
directory.py       users, projects, application credentials: who exists, who holds which role
secret.py          stored passwords and secrets
token.py           signed tokens, without storage
revocation.py      the port to the tokens that were given back early
validation.py      token -> who (TokenValidator)
authentication.py  POST /v3/auth/tokens: credentials -> token
views.py           directory, token and catalog as Keystone writes them
handler.py         request -> response
service.py         tokens that the service makes for itself, to call others
local.py           the users of a cloud on one machine, and their clouds.yaml
"""

from chalicelib.identity.config import IdentityConfig, Service, block_storage_services
from chalicelib.identity.document import load
from chalicelib.identity.handler import IdentityRequest, IdentityResponse, handle
from chalicelib.identity.local import local_clouds, local_document
from chalicelib.identity.revocation import InMemoryRevocations, RevocationStore
from chalicelib.identity.secret import hash_secret
from chalicelib.identity.service import ServiceTokens
from chalicelib.identity.validation import StandaloneTokens

__all__ = [
    'IdentityConfig',
    'IdentityRequest',
    'IdentityResponse',
    'InMemoryRevocations',
    'RevocationStore',
    'Service',
    'ServiceTokens',
    'StandaloneTokens',
    'block_storage_services',
    'handle',
    'hash_secret',
    'load',
    'local_clouds',
    'local_document',
]
