"""The HTTP front door: Cinder's block storage API v3, and the standalone identity beside it.

mounting.py        paths of Chalice -> routes, at once or when they are first asked for
front_door.py      the one way of a request; reply.py, faults.py: the ways it ends
resources.py       which module declares the routes of which path
resource.py        routes as a table: policy, schema, microversion, status
negotiation.py     microversions; auth.py, tokens.py: who asks
request.py         what a handler is given
schema.py          bodies; formats.py, parameters.py: what schemas are made of; schema_refusals.py: what refusals say
view.py            fields; pagination.py, filters.py: lists
the rest           one module per resource
"""
