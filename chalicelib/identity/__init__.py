"""The standalone identity: as much of Keystone's v3 API as block storage and its clients need, from one document.

document.py        the document -> IdentityConfig
directory.py       users, projects, application credentials, and the roles that users hold
secret.py          stored passwords and secrets
token.py           signed tokens, without storage
revocation.py      the store of revoked tokens
guesses.py         limits on password attempts
validation.py      token -> user, project, roles (TokenValidator)
authentication.py  POST /v3/auth/tokens: credentials -> token
views.py           directory, token and catalog in Keystone's JSON
handler.py         request -> response
service.py         the service's own tokens, for calls to other services
local.py           the users of the local cloud, and their clouds.yaml
"""
