"""The check of a backends document before it is used: form, drivers, options and references to secrets.

It reaches no backend and reads no secret.
"""

from __future__ import annotations

import json

from chalicelib.drivers import registry

#: The placeholder of every secret: long enough for any driver.
_SECRET = 'x' * 64


def check(document: bytes) -> registry.Backends:
    """Raises BackendMisconfigured for the first error."""
    texts: dict[str, str] = {}
    backends = registry.load(document, texts.__getitem__)
    for host in backends.names():
        for place in backends.backend(host).secrets.values():
            texts[place['secret']] = _with(texts.get(place['secret']), place.get('key'))
    backends.check()
    return backends


def _with(text: str | None, key: str | None) -> str:
    """Return a secret's text that also has this key."""
    if key is None:
        return text or _SECRET
    return json.dumps({**(json.loads(text) if text and text != _SECRET else {}), key: _SECRET})
