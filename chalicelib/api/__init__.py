"""The HTTP front door: Cinder's block storage API v3, and the standalone identity beside it.

front_door.py      the one way of a request; reply.py, faults.py: the ways it ends
resource.py        routes as a table: policy, schema, microversion, status
negotiation.py     microversions; auth.py, tokens.py: who asks
request.py         what a handler is given
schema.py          bodies; formats.py, parameters.py: what schemas are made of; schema_refusals.py: what refusals say
view.py            fields; pagination.py, filters.py: lists
the rest           one module per resource
"""

from __future__ import annotations

from chalice.app import Chalice

from chalicelib.api import front_door, identity, key_manager, versions
from chalicelib.api.resources import RESOURCES


def mount(app: Chalice) -> None:
    """Register every route of the API with the app, once per process."""
    for resource in RESOURCES:
        resource.register_urls()
        app.register_blueprint(resource)
    app.register_blueprint(versions.routes())
    app.register_blueprint(identity.routes())
    app.register_blueprint(key_manager.routes())
    app.register_middleware(front_door.remember, 'http')
