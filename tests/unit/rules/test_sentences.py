"""Whatever an error's text holds, a user reads no name of the inside."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib import errors
from chalicelib.rules import sentences
from tests.inner_names import INNER, TEXT, inner_names_in

CODE = Path(errors.__file__).parent


def classes() -> list[type[errors.CinderlessError]]:
    return [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.CinderlessError)]


def made(kind: type[errors.CinderlessError]) -> errors.CinderlessError:
    """An error of the class whose facts all hold names of the inside."""
    names = {name for _, name, _, _ in string.Formatter().parse(kind.template) if name}
    return kind(**dict.fromkeys(names, TEXT)) if names else kind(TEXT)


@pytest.mark.parametrize('kind', classes(), ids=lambda kind: kind.__name__)
def test_a_class_has_a_sentence_or_is_written_for_users(kind: type[errors.CinderlessError]) -> None:
    shown = sentences.for_users(kind.__name__, made(kind).message)
    if any(one in sentences.OWN for one in kind.__mro__):
        assert shown == made(kind).message
    else:
        assert inner_names_in(shown) == []
        assert shown.endswith('.')


@pytest.mark.parametrize('error', ['', 'States.Timeout', 'ClientError', 'KeyError', 'annotations', 'Lambda.Unknown'])
def test_what_is_no_error_of_ours_is_not_quoted(error: str) -> None:
    assert sentences.for_users(error, TEXT) == sentences.INTERRUPTED


def test_the_list_of_names_finds_them() -> None:
    assert set(inner_names_in(TEXT)) == set(INNER)
    assert inner_names_in('Volume 1 is busy.') == []


#: The folders whose errors carry the words of backends, services and AWS.
OUTSIDE = ('drivers', 'clients', 'backup', 'iscsi')


def quoted() -> Iterator[str]:
    """Errors written for users that are raised with the text of another error."""
    for path in [one for folder in OUTSIDE for one in (CODE / folder).rglob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _is_for_users(node.func):
                arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
                if any(_quotes(inner) for one in arguments for inner in ast.walk(one)):
                    yield f'{path.relative_to(CODE)}:{node.lineno} {ast.unparse(node)}'


def _is_for_users(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, 'id', '')
    kind = getattr(errors, name, None)
    return isinstance(kind, type) and any(one in sentences.OWN for one in kind.__mro__)


def _quotes(node: ast.AST) -> bool:
    """``str(error)``, ``{error}``, ``error.message``."""
    if isinstance(node, ast.Attribute):
        return node.attr == 'message'
    return isinstance(node, ast.Name) and node.id in {'error', 'refused', 'failed', 'failure'}


def test_no_text_of_a_backend_is_quoted_in_an_error_for_users() -> None:
    assert list(quoted()) == []


def test_no_class_elsewhere_has_the_name_of_a_class_with_a_sentence() -> None:
    """A worker's error is known by its class's name: another class of that name would show its text to users."""
    found = [
        (path.name, node.name)
        for path in CODE.rglob('*.py')
        if path.parent.name != 'errors'
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.bases and hasattr(errors, node.name)
    ]
    assert found == []
