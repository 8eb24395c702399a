"""The standalone identity: as much of Keystone's v3 API as block storage and its clients need, from one document.

document.py        the document -> IdentityConfig
directory.py       users, projects, application credentials: who exists, who holds which role
secret.py          stored passwords and secrets
token.py           signed tokens, without storage
revocation.py      the port to the tokens that were given back early
guesses.py         how often passwords may be guessed
validation.py      token -> who (TokenValidator)
authentication.py  POST /v3/auth/tokens: credentials -> token
views.py           directory, token and catalog as Keystone writes them
handler.py         request -> response
service.py         tokens that the service makes for itself, to call others
local.py           the users of a cloud on one machine, and their clouds.yaml
"""
