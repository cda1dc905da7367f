"""Reads the tensors of answers: in Triton's binary form, and in JSON."""

import json
from collections.abc import Mapping

import numpy as np
from tritonclient.utils import deserialize_bytes_tensor, triton_to_np_dtype


def read_body(content: bytes, json_size: int, placed: Mapping[str, bytes] | None = None) -> dict[str, np.ndarray]:
    """Read the tensors of an HTTP body whose first `json_size` bytes are JSON. Raises if it is malformed.

    `placed` are the bytes of those that came another way, by name.
    """
    arrays, start = {}, json_size
    for output in json.loads(content[:start])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if placed and output["name"] in placed:
            array = read_binary(placed[output["name"]], output["datatype"])
        elif size is None:
            array = read_json(output["data"], output["datatype"])
        else:
            array, start = read_binary(content[start : start + size], output["datatype"]), start + size
        arrays[output["name"]] = array.reshape(output["shape"])
    return arrays


def read_binary(data: bytes, datatype: str) -> np.ndarray:
    """Return the elements of a binary tensor, in one dimension.

    Those of BYTES are `bytes` in an array of objects; those of BF16, which NumPy lacks, are float32. Raises ValueError
    for an unknown type.
    """
    if datatype == "BYTES":
        return deserialize_bytes_tensor(data)
    if datatype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)  # the upper half
    return np.frombuffer(data, find_dtype(datatype))


def read_json(data: list, datatype: str) -> np.ndarray:
    """Return the elements of a tensor that stands in JSON, in one dimension or more, typed as `read_binary` does.

    Raises ValueError for an unknown type, or nested numbers of unlike lengths.
    """
    if datatype == "BYTES":
        return np.array([each.encode() for each in np.array(data, object).ravel()], object)
    return np.array(data, np.float32 if datatype == "BF16" else find_dtype(datatype))


def find_dtype(datatype: str) -> type:
    """Return NumPy's type. Raises ValueError for a name that is none of Triton's."""
    found = triton_to_np_dtype(datatype)
    if found is None:
        raise ValueError(f"unknown data type {datatype!r}")
    return found
