"""``python -m chalicelib.drivers FILE``: check a backends document before it is deployed.

Checks the document's form, drivers, options and references to secrets; reaches no backend and reads no secret.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from chalicelib.drivers import registry
from chalicelib.errors import BackendMisconfigured

#: The placeholder of every secret: long enough for any driver.
_SECRET = 'x' * 64


def main(arguments: list[str]) -> int:
    """Return 0 and print each backend; 1 and the first error, with its key; 2 for wrong usage."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        backends = check(Path(arguments[0]).read_bytes())
    except (OSError, BackendMisconfigured) as error:
        print(error, file=sys.stderr)
        return 1
    for host in backends.names():
        print(f'{host}: {backends.backend(host).driver}')
    return 0


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


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
