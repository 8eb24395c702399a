"""``cinderless completion``."""

from __future__ import annotations

import click
from click import shell_completion

from cinderless.program import COMPLETE, program


@click.command()
@click.argument('shell', type=click.Choice(['bash', 'zsh', 'fish']))
def completion(shell: str) -> None:
    """Print the script that completes commands and options in a shell.

    \b
    bash: eval "$(cinderless completion bash)"      in ~/.bashrc
    zsh:  eval "$(cinderless completion zsh)"       in ~/.zshrc
    fish: cinderless completion fish | source       in ~/.config/fish/config.fish
    """
    kind = shell_completion.get_completion_class(shell)
    assert kind is not None
    click.echo(kind(program, {}, 'cinderless', COMPLETE).source())
