"""The program itself: its commands, how their errors are shown, and its exit code.

An error is one line on standard error; ``--debug``, before or after the command, shows where it was raised.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import tomllib
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cinderless.errors import EXIT_CODES, FAILED, INTERRUPTED, REFUSED, Failure

ROOT = Path(__file__).resolve().parent.parent

#: Section of the help -> its commands, in the help's order. Each command is imported when it is needed.
SECTIONS: Mapping[str, Sequence[str]] = {
    'Run a local cloud': ('serve', 'status', 'stop', 'demo', 'state', 'unit'),
    'Find out what happened': ('logs', 'history', 'doctor'),
    'Operate': ('backends', 'backup', 'policy', 'user'),
    'Move in from Cinder': ('convert', 'migrate'),
    'Deploy to AWS': ('package', 'deploy', 'remove', 'dr'),
    'Shell': ('completion',),
}

COMMANDS = tuple(name for names in SECTIONS.values() for name in names)

#: The variable by which a shell's completion calls the program.
COMPLETE = '_CINDERLESS_COMPLETE'

EPILOG = '\b\nExit codes:\n' + '\n'.join(f'  {code:3}  {meaning}' for code, meaning in EXIT_CODES.items())


class Group(click.Group):
    """A group whose unknown commands are refused with the closest name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith('-'):
            close = difflib.get_close_matches(name, self.list_commands(ctx), 1)
            advice = f'did you mean {close[0]!r}?' if close else f'{ctx.command_path} --help lists the commands'
            ctx.fail(f'there is no command {name!r}: {advice}')
        return super().resolve_command(ctx, args)


class Program(Group):
    """The commands by section, each from its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(f'cinderless.commands.{cmd_name}'), cmd_name)
        return _with_debug(found)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for section, names in SECTIONS.items():
            with formatter.section(section):
                rows = [(name.ljust(width), _short_help(self.get_command(ctx, name))) for name in names]
                formatter.write_dl(rows)


def _short_help(command: click.Command | None) -> str:
    return command.get_short_help_str(limit=90) if command else ''


def _with_debug(command: click.Command) -> click.Command:
    """Return the command with ``--debug``, on its sub-commands, too."""
    if not any(parameter.name == 'debug' for parameter in command.params):
        command.params.append(debug_option())
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _with_debug(each)
    return command


def debug_option() -> click.Option:
    """``main`` reads it; it is declared so that it may be anywhere and the help shows it."""
    return click.Option(['--debug'], is_flag=True, expose_value=False, help='Show the traceback of an error.')


def _print_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
        click.echo(f'cinderless {project["version"]}')
        ctx.exit()


@click.group(
    'cinderless',
    cls=Program,
    params=[debug_option()],
    epilog=EPILOG,
    context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 100},
)
@click.option(
    '--version', is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help='Print the version.'
)
def program() -> None:
    """Block storage (OpenStack Cinder) without servers: run it on one machine, deploy it to AWS, and look after it.

    'cinderless serve' runs the whole service here; 'cinderless COMMAND --help' describes a command.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Prints an error in one line, and with --debug its traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if '--debug' in words:
        os.environ['DEBUG'] = '1'
    try:
        outcome: Any = program.main(words, prog_name='cinderless', complete_var=COMPLETE, standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except SystemExit as ended:  # click's own end of a broken pipe or of a completion
        return ended.code if isinstance(ended.code, int) else FAILED
    except (KeyboardInterrupt, click.Abort):
        print('interrupted', file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _reported(error, debug=os.environ.get('DEBUG') == '1')


def _reported(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    code, text = next(show(error) for kind, show in _shown() if isinstance(error, kind))
    print(f'cinderless: {text}', file=sys.stderr)
    return code


def _shown() -> list[tuple[type[Exception], Callable[[Any], tuple[int, str]]]]:
    """(class of an error, function that returns exit code and text). The first class that fits counts."""
    from chalicelib.errors import CinderlessError
    from infra.stage import Refused as StageRefused
    from local.settings import Refused

    return [
        (Failure, lambda error: (error.code, str(error))),
        (click.UsageError, lambda error: (REFUSED, _usage(error))),
        (click.ClickException, lambda error: (FAILED, error.format_message())),
        (Refused, lambda error: (REFUSED, str(error))),
        (StageRefused, lambda error: (FAILED, str(error))),
        (CinderlessError, lambda error: (FAILED, str(error))),
        (OSError, lambda error: (FAILED, str(error))),
        (Exception, lambda error: (FAILED, f'{type(error).__name__}: {error} (--debug shows where)')),
    ]


def _usage(error: click.UsageError) -> str:
    """The message with the command whose help describes what is right."""
    path = error.ctx.command_path if error.ctx else 'cinderless'
    message = error.format_message().rstrip('.')
    return message if '--help' in message else f'{message} ({path} --help)'
