"""What stands in a network's file is read before torch loads it: text that would run more than tensor operations.

TorchScript can write files (``torch.save``), and runs code while it loads. torch.export's reader hands expressions to
SymPy, which evaluates them as Python, puts names into code that it executes, and loads machine code where there is any
(the first two seen with torch 2.15).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_GAP = r"(?:\s|\\|#[^\n]*\n)*"  # what may stand between two words of TorchScript
_FILES = re.compile(rf"\.{_GAP}(save|load|from_file|read_file|write_file)\b")
_OPS = re.compile(rf"\bops{_GAP}\.{_GAP}(\w+)")
_TENSOR_OPS = frozenset({"aten", "prim", "prims", "quantized", "torchvision", "higher_order"})
_TARGET = re.compile(r"torch\.ops\.(\w+)\.\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.sym_\w+")
_PARTS = re.compile(
    r"models/[^/]+\.json|data/(weights|constants|sample_inputs)/.*|serialized_[a-z_]+\.(json|pt)|extra/.*|"
    r"archive_format|archive_version|byteorder|version|\.data/.*|\.format/.*"
)
_PLAIN = re.compile(r"[\w.\- :/+]*")
_SPEC = re.compile(r"[\w.\- :,\[\]{}\"]*")  # JSON of the structure of arguments
_NODES = (
    *(ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp, ast.Compare),
    *(ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)
_FUNCTIONS = re.compile(
    r"Symbol|Integer|Float|Rational|Max|Min|Mod|Pow|Add|Mul|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Abs|floor|ceiling|Piecewise|"
    r"FloorDiv|ModularIndexing|Where|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow|"
    r"FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat|"
    r"Identity|BitwiseFn_bitwise_(and|or|xor)|OpaqueUnaryFn_\w+"
)


def check_script(path: Path) -> None:
    """Look at a TorchScript file before it is loaded.

    Raises:
        RuntimeError, ValueError: not one, or its code reads or writes files.
    """
    for _, content in _records(path, ".py"):
        text = content.decode(errors="replace")
        other = next((found[1] for found in _OPS.finditer(text) if found[1] not in _TENSOR_OPS), None)
        touched = _FILES.search(text)
        if touched or other:
            what = touched[1] if touched else f"ops.{other}"
            raise ValueError(f"its code calls {what}, and a network needs no files")


def check_export(path: Path) -> None:
    """Look at an archive of torch.export before it is loaded.

    Raises:
        RuntimeError, ValueError: not one; or it holds machine code, or text that is no name, tensor operation or sum.
    """
    for name, _ in _records(path, ""):
        if not _PARTS.fullmatch(name):
            raise ValueError(f"it holds {name[:80]}, and a file's code is never run")
    for _, content in _records(path, ".json"):
        for key, text in _texts(json.loads(content), ""):
            if not _harmless(key, text):
                raise ValueError(f"its {key} is {text[:80]!r}, and a file's code is never run")


def _records(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """(name, content where a suffix is asked for) by the reader that torch itself will use."""
    reader = torch._C.PyTorchFileReader(str(path))
    for name in reader.get_all_records():
        if name.endswith(suffix):
            yield name, reader.get_record(name) if suffix else b""


def _texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """(key above it, text) of all texts and keys below `node`; notes that nothing runs are left out."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield "key", name
            if name != "metadata":  # stack traces and names of modules
                yield from _texts(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, key)
    elif isinstance(node, str):
        yield key, node


def _harmless(key: str, text: str) -> bool:
    if key == "expr_str":
        return _is_sum(text)
    if key in ("target", "as_operator"):
        found = _TARGET.fullmatch(text)
        return found is not None and (found[1] is None or found[1] in _TENSOR_OPS)
    if key in ("in_spec", "out_spec"):
        return bool(_SPEC.fullmatch(text))
    return bool(_PLAIN.fullmatch(text))


def _is_sum(text: str) -> bool:
    """Whether an expression is made of numbers, symbols and SymPy's functions of them alone."""
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in nodes:
        if not isinstance(node, _NODES):
            return False
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and _FUNCTIONS.fullmatch(node.func.id)):
            return False
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str | bytes)
            and not str(node.value).isidentifier()
        ):
            return False
    return True
