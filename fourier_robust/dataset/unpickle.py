"""Read the byte arrays of a pickle without running any of it."""

from __future__ import annotations

import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fourier_robust.errors import UserError


class _Dtype:
    """Stands in for `numpy.dtype`, of which only the name is wanted."""

    __slots__ = ("code",)

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else str(code)

    def __setstate__(self, state: object) -> None:
        pass  # byte order and the like, without meaning for single bytes


class _Array:
    """Stands in for `numpy.ndarray` and its maker: NumPy's own crash the process on some damaged files."""

    __slots__ = ("values",)

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, column_major, data = state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", "|u1", "uint8"):
            raise pickle.UnpicklingError(f"it holds an array of {getattr(dtype, 'code', dtype)!r}, not of uint8")
        if column_major or not isinstance(data, bytes) or min(shape) < 0 or math.prod(shape) != len(data):
            raise pickle.UnpicklingError(f"its array of shape {shape} does not fit its bytes")
        self.values = np.frombuffer(data, np.uint8).reshape(shape)


def _encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode`, of which Python 3 uses one encoding; others would import their modules."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}, and bytes are written as latin1")
    return text.encode("latin1")


# The whole vocabulary: what NumPy 1 (numpy.core, Python 2 as well) and NumPy 2 (numpy._core) write for an array,
# and how Python 3 writes bytes into protocols 0 to 2.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}

# Opcodes that arrays, lists and text do not need: object construction and, of protocol 5, buffers of a claimed size.
_REFUSED = (
    *(pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST, pickle.OBJ),
    *(pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)

# What randomly damaged pickles were seen to raise, besides the unpickler's own error.
_DAMAGE = (AttributeError, EOFError, LookupError, MemoryError, OverflowError, TypeError, ValueError, struct.error)


class _ArrayUnpickler(pickle._Unpickler):
    """Python's own reader in Python: the one in C was seen to crash and to take all memory on damaged files."""

    dispatch: ClassVar = {
        code: read for code, read in pickle._Unpickler.dispatch.items() if bytes([code]) not in _REFUSED
    }

    def find_class(self, module: str, name: str) -> Any:
        """The only way from a pickle to a callable: a name outside the vocabulary is refused before it is imported."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            asked = f"{module}.{name}"
            raise pickle.UnpicklingError(f"it asks for {asked!r}, and data need no code") from None


def load_arrays(path: Path) -> dict[str, Any]:
    """The dictionary in a pickle file of byte arrays, lists, numbers and text; nothing in it is ever executed.

    Reads Python 2 pickles (protocol 2, byte-string keys: the official CIFAR files) and Python 3 ones up to
    protocol 4. Byte-string keys come out as text, other byte strings as bytes, arrays as read-only uint8.

    Raises:
        UserError: the file asks for any function or class but NumPy's array reconstruction, is damaged, holds
            an array of another type, or is not a dictionary.
    """
    stream = io.BytesIO(path.read_bytes())  # in memory, so that a damaged length can ask for no more than the file
    try:
        content = _ArrayUnpickler(stream, encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} is not a readable pickle of arrays: {_one_line(error)}") from None
    except _DAMAGE as error:
        kind = type(error).__name__
        raise UserError(f"{path} is not a readable pickle of arrays: damaged ({kind}: {_one_line(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a readable pickle of arrays: it holds a {type(content).__name__}, not a dict")
    return {_text(key): value.values if isinstance(value, _Array) else value for key, value in content.items()}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)
