"""What crosses the network: named tensors in Triton's types, made of what `prepare` returns.

A model's input says its type and shape (`Input`); an array, or bytes, becomes a `Tensor` that is ready to be sent.
Nothing is copied on the way but what does not lie in one piece, and the elements of a BYTES array.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

Array = np.ndarray | bytes
Prepared = Array | Mapping[str, Array]
"""What `prepare` returns: the data of the one input, or of several by name; without a batch dimension."""


class Misfit(ValueError):
    """What cannot be sent to a model: what was given, and what is expected."""

    def __init__(self, given: str, expected: str):
        super().__init__(f"{given}; {expected}")
        self.given, self.expected = given, expected


@dataclass(frozen=True)
class Input:
    """An input of a served model. What is left out comes from the server's configuration of the model."""

    name: str
    datatype: str = ""
    """In Triton's words: FP32, UINT8, BYTES ...; empty: whatever the array has."""
    dims: tuple[int, ...] | None = None
    """Without a batch dimension if the model has one; -1 stands for any length, and None for any shape."""
    optional: bool = False

    def __str__(self) -> str:
        if self.dims is None:
            return self.datatype or "an array of numbers or text"
        numpy = triton_to_np_dtype(self.datatype) if self.datatype != "BYTES" else None
        return f"{np.dtype(numpy).name if numpy else self.datatype or 'any type'} {shape_text(self.dims)}"

    @property
    def claim(self) -> str:
        """What it takes, as a sentence of an error."""
        return f"input {self.name} takes {self}" if self.name else f"a model takes {self}"

    def takes(self, datatype: str | None, shape: tuple[int, ...]) -> bool:
        """Tell whether an array of that type and shape can be sent as this input."""
        if not datatype or self.datatype not in ("", datatype):
            return False
        if self.dims is None:
            return True
        return len(shape) == len(self.dims) and all(
            wanted in (-1, n) for n, wanted in zip(shape, self.dims, strict=True)
        )


@dataclass(frozen=True)
class Tensor:
    """A tensor as it is sent: its shape has the batch dimension, if the model has one."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    pieces: tuple[bytes | memoryview, ...]
    """Its bytes on the wire, in order: views of the array that it is made of."""

    @property
    def spec(self) -> tuple[str, str, tuple[int, ...], int]:
        """What a request's head says of it: name, type, shape, and size in bytes."""
        return self.name, self.datatype, self.shape, sum(map(len, self.pieces))

    @property
    def array(self) -> np.ndarray:
        """The array that the server sees, with the batch dimension; a copy."""
        data = b"".join(self.pieces)
        if self.datatype == "BYTES":
            return deserialize_bytes_tensor(data).reshape(self.shape)
        return np.frombuffer(data, triton_to_np_dtype(self.datatype)).reshape(self.shape)


def encode(wanted: Input, given: Any, batched: bool) -> Tensor:
    """Return `given` as the tensor of an input; a `batched` model gets a leading dimension of 1.

    A BYTES input takes a file as it lies, as bytes or as an array of UINT8: that is one element. Raises Misfit for what
    the input does not take, and for what is neither an array nor bytes.
    """
    array = np.frombuffer(given, np.uint8) if isinstance(given, bytes) else given
    array = np.asarray(array) if isinstance(array, np.generic) else array
    if not isinstance(array, np.ndarray):
        raise Misfit(describe_object(given), wanted.claim)
    shape, datatype = array.shape, find_datatype(array)
    pieces: tuple[bytes | memoryview, ...] = ()
    if wanted.datatype == "BYTES" and datatype == "UINT8":
        data = np.ascontiguousarray(array).reshape(-1).data
        shape, datatype = (1,) * (1 if wanted.dims is None else len(wanted.dims)), "BYTES"
        pieces = (struct.pack("<I", len(data)), data)
    elif datatype == "BYTES":
        pieces = (serialize_byte_tensor(array.astype(object)).item(),)
    elif datatype:
        pieces = (np.ascontiguousarray(array).reshape(-1).view(np.uint8).data,)
    if not datatype or not wanted.takes(datatype, shape):
        raise Misfit(f"{array.dtype} {shape_text(array.shape)}", wanted.claim)
    return Tensor(wanted.name, datatype, (1, *shape) if batched else shape, pieces)


def describe_object(given: Any) -> str:
    """Return what messages call something that is neither an array nor bytes."""
    return "None" if given is None else f"an object of type {type(given).__name__}"


def freeze(prepared: Any) -> Any:
    """Return what `prepare` returned in memory that nobody can write to: its arrays are copied into bytes objects.

    To clear an array's flag would not do: views of it that are there already may be written through, and its owner can
    set the flag again. Arrays of objects are returned as they are; each request makes new bytes of them.
    """
    if isinstance(prepared, Mapping):
        return {name: freeze_array(each) for name, each in prepared.items()}
    return freeze_array(prepared)


def freeze_array(given: Any) -> Any:
    """Return an array in memory that nobody can write to, and anything else as it is."""
    if not isinstance(given, np.ndarray) or given.dtype.hasobject or type(find_owner(given)) is bytes:
        return given
    return np.ndarray(given.shape, given.dtype, given.tobytes())


def find_owner(given: Any) -> Any:
    """Return the object whose memory an array or a view of memory shows."""
    while isinstance(given, np.ndarray | memoryview):
        given = given.obj if isinstance(given, memoryview) else given.base
    return given


def find_source(piece: bytes | memoryview) -> tuple[bytes, int, int] | None:
    """Return where a tensor's piece lies, if nobody can write there: (owner, address, bytes); None otherwise.

    As long as the owner is kept, what has the same owner, address and size has the same content.
    """
    owner = find_owner(piece)
    if type(owner) is not bytes:
        return None
    array = np.frombuffer(piece, np.uint8)
    return owner, array.ctypes.data, array.nbytes


def find_datatype(array: np.ndarray) -> str | None:
    """Return Triton's name of an array's type; None for a type that cannot be sent, or objects that are no text."""
    if array.dtype.kind == "O":
        return "BYTES" if all(isinstance(each, bytes | str) for each in array.flat) else None
    return name_datatype(array.dtype)


@cache
def name_datatype(dtype: np.dtype) -> str | None:
    """Return Triton's name of a type other than object; None for one that it does not have."""
    return "BYTES" if dtype.kind in "SU" else np_to_triton_dtype(dtype)


def shape_text(dims: tuple[int, ...]) -> str:
    """Write a shape as NumPy does, with "any" for -1."""
    listed = ", ".join("any" if n == -1 else str(n) for n in dims)
    return f"({listed},)" if len(dims) == 1 else f"({listed})"
