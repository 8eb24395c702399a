"""Compile a tree ahead, run by the interpreter that is deployed: ``python3.13 infra/bytecode.py TREE [--alone]``.

With hashes that are never checked, so that the files' times do not matter. One file after the other under a fixed
hash seed, since what marshal writes depends on what the process saw before.

``--alone`` is for our own code: the byte code takes the place of its source, without what only a reader needs (the
docstrings of modules and functions; those of classes stay, or dataclasses would make their own at each import).
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from pathlib import Path

#: Of a .pyc file: it is valid by a hash of its source, which nobody compares.
UNCHECKED_HASH = (0b01).to_bytes(4, 'little')

_Documented = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


def main(tree: Path, alone: bool) -> None:
    for path in sorted(tree.rglob('*.py')):
        target = path.with_suffix('.pyc') if alone else Path(importlib.util.cache_from_source(str(path)))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(compiled(path.read_bytes(), str(path.relative_to(tree)), alone))
        if alone:
            path.unlink()


def compiled(source: bytes, name: str, alone: bool) -> bytes:
    """The .pyc of a source; ``name`` is what tracebacks show."""
    tree = ast.parse(source)
    code = compile(undocumented(tree) if alone else tree, name, 'exec', dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(source) + marshal.dumps(code)


def undocumented(tree: ast.Module) -> ast.Module:
    """Drop the docstrings of modules and functions; one that is all there is becomes ``pass``."""
    for node in ast.walk(tree):
        if isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None:
            first, rest = node.body[0], node.body[1:]
            node.body = rest or [ast.copy_location(ast.Pass(), first)]
    return tree


if __name__ == '__main__':
    main(Path(sys.argv[1]), '--alone' in sys.argv)
