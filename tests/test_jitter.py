"""Every pause between attempts is drawn at random: a herd that met one outage must not come back as one."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

from chalicelib.jitter import jittered

PACKAGE = Path(__file__).parent.parent / 'chalicelib'

#: (file, function) -> why its pause is a fixed one.
REASONS = {
    ('models/base.py', 'find_anywhere'): 'until an index shows what was just written',
    ('drivers/ebs_client.py', 'sleep'): 'what the callers below, and those that draw, wait with',
    ('drivers/ebs.py', '_modify'): 'until EC2 shows what a call whose answer was lost has done',
    ('drivers/ebs.py', 'cancel_restore'): 'until EC2 shows what was just made',
    ('drivers/ebs_groups.py', '_together'): 'until EC2 shows what a call whose answer was lost has done',
    ('drivers/ebs_objects.py', 'make_snapshot'): 'until EC2 shows what a call whose answer was lost has done',
    ('drivers/ebs_exports.py', 'disconnect'): 'until EC2 shows a tag that was just written',
}

DRAWN = ('jittered(', 'random.uniform(')


def pauses(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (function, source) of every function that sleeps."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and any(
            isinstance(one, ast.Call) and ast.unparse(one.func).endswith('sleep') for one in ast.walk(node)
        ):
            yield node.name, ast.get_source_segment(source, node) or ''


def fixed() -> set[tuple[str, str]]:
    return {
        (path.relative_to(PACKAGE).as_posix(), function)
        for path in PACKAGE.rglob('*.py')
        for function, source in pauses(path)
        if not any(drawn in source for drawn in DRAWN) and 'map(jittered' not in source
    }


def test_every_pause_is_drawn_or_has_a_reason() -> None:
    assert fixed() <= set(REASONS)


def test_a_pause_is_what_it_says_on_average() -> None:
    drawn = [jittered(2.0) for _ in range(4000)]
    assert 0 <= min(drawn) < 0.1
    assert 3.9 < max(drawn) <= 4.0
    assert 1.8 < statistics.mean(drawn) < 2.2
