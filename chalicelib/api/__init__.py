"""The HTTP front door: Cinder's block storage API v3, and the standalone identity beside it.

route_registration.py  Chalice's paths -> routes, all at once or at their first request
front_door.py      the pipeline of a request; reply.py, faults.py: its responses
resources.py       the modules that declare the routes of each path
resource.py        routes as a table: policy, schema, microversion, status
negotiation.py     microversions; auth.py, tokens.py: the caller
request.py         the request for handlers
schema.py          bodies; formats.py, parameters.py: parts of schemas; schema_refusals.py: messages of refusals
view.py            fields; pagination.py, filters.py: lists
others             one module per resource
"""
