"""``cinderless package``."""

from __future__ import annotations

import click

from cinderless.progress import progress


@click.command()
def package() -> int:
    """Build what is deployed: .build/template.json and its three archives.

    Every handler is loaded from the finished archives before the command succeeds.
    """
    from infra import package

    return package.main(progress)
