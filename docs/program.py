"""docs/reference/program.md: every command of the program with its arguments and options, read from the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from cinderless.errors import EXIT_CODES
from cinderless.program import SECTIONS, program

PAGE = """# The program

`make setup` installs `cinderless` in `.venv/bin`; `python -m cinderless` in a checkout is the same. Commands about a
local cloud take `--state-dir` (`STATE_DIR`, default `.local` in the current folder). This page is generated from the
commands: `make docs`.

- `cinderless --help` lists the commands, `cinderless COMMAND --help` describes one.
- An error is one line on standard error. `--debug`, before or after the command, adds the traceback.
- `--json` prints JSON where a program reads the answer.
- Long work shows a bar with rate and time left on a terminal, and a line for every 10 % elsewhere.
- `eval "$(cinderless completion bash)"` completes commands and options; zsh and fish have their own scripts.

## Exit codes

| code | meaning |
|---|---|
{codes}

{sections}
"""


def page() -> str:
    """docs/reference/program.md."""
    codes = '\n'.join(f'| {code} | {meaning} |' for code, meaning in EXIT_CODES.items())
    return PAGE.format(codes=codes, sections='\n\n'.join(_sections()))


def _sections() -> Iterator[str]:
    context = click.Context(program, info_name='cinderless')
    for section, names in SECTIONS.items():
        yield f'## {section}'
        for name in names:
            command = program.get_command(context, name)
            assert command is not None
            yield from _described(command, f'cinderless {name}', 3)


def _described(command: click.Command, path: str, level: int) -> Iterator[str]:
    yield f'{"#" * level} {path}'
    if not isinstance(command, click.Group):
        arguments = [each for each in command.params if isinstance(each, click.Argument)]
        yield f'`{" ".join([path, "[OPTIONS]", *(each.make_metavar(click.Context(command)) for each in arguments)])}`'
    yield _prose(command.help or '')
    options = [each for each in command.params if isinstance(each, click.Option) and each.name != 'debug']
    if options and not isinstance(command, click.Group):
        yield '\n'.join(['| option | |', '|---|---|', *map(_option, options)])
    for name, each in getattr(command, 'commands', {}).items():
        yield from _described(each, f'{path} {name}', level + 1)


def _prose(text: str) -> str:
    """The help as Markdown: its preformatted paragraphs, which begin with a backspace, are code."""
    paragraphs = inspect.cleandoc(text).split('\n\n')
    return '\n\n'.join(
        '```sh\n' + re.sub(r'^ {0,4}', '', each.removeprefix('\b\n')) + '\n```' if each.startswith('\b') else each
        for each in paragraphs
    )


def _option(option: click.Option) -> str:
    value = '' if option.is_flag else f' {option.make_metavar(click.Context(program))}'
    names = ', '.join(f'`{name}{value}`' for name in option.opts)
    default = f' Default: `{option.default}`.' if option.show_default and not isinstance(option.default, list) else ''
    return f'| {_cell(names)} | {_cell((option.help or "") + default)} |'


def _cell(text: str) -> str:
    return text.replace('|', '\\|')
