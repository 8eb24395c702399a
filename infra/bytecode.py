"""Compile a tree ahead of time with the deployed interpreter: ``python3.13 infra/bytecode.py TREE [--alone]``.

The hashes are never checked, so the files' times do not matter. Files are compiled in sequence under a fixed hash seed,
since marshal's output depends on earlier work of the process.

``--alone`` is for the project's own code: byte code replaces its source, without the docstrings of modules and
functions (those of classes stay, since dataclasses would generate their own at each import).
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from pathlib import Path

#: Flags of a .pyc file: it has a hash of its source, which Python does not compare.
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
    """Return the .pyc of a source; ``name`` is the file name in tracebacks."""
    tree = ast.parse(source)
    code = compile(undocumented(tree) if alone else tree, name, 'exec', dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(source) + marshal.dumps(code)


def undocumented(tree: ast.Module) -> ast.Module:
    """Remove the docstrings of modules and functions; a body without anything else becomes ``pass``."""
    for node in ast.walk(tree):
        if isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None:
            first, rest = node.body[0], node.body[1:]
            node.body = rest or [ast.copy_location(ast.Pass(), first)]
    return tree


if __name__ == '__main__':
    main(Path(sys.argv[1]), '--alone' in sys.argv)
