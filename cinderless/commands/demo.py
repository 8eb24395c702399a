"""``cinderless demo``."""

from __future__ import annotations

import click


@click.command()
def demo() -> int:
    """Create, attach, back up and restore on real data, and verify every byte.

    The demo starts a local cloud of its own, with a temporary state folder and free ports, and removes it.
    """
    from local.demo import main

    return main()
