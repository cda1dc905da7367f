"""Reads a DALI graph before it runs: finds its file, lists its inputs, compares it with the config."""

import importlib.util
import re
import sys

from dali_protobuf import fields
from nvidia.dali import types
from nvidia.dali._utils.autoserialize import _discover_autoserialize

TRITON_TYPES = {
    types.DALIDataType.BOOL: "TYPE_BOOL",
    types.DALIDataType.UINT8: "TYPE_UINT8",
    types.DALIDataType.UINT16: "TYPE_UINT16",
    types.DALIDataType.UINT32: "TYPE_UINT32",
    types.DALIDataType.UINT64: "TYPE_UINT64",
    types.DALIDataType.INT8: "TYPE_INT8",
    types.DALIDataType.INT16: "TYPE_INT16",
    types.DALIDataType.INT32: "TYPE_INT32",
    types.DALIDataType.INT64: "TYPE_INT64",
    types.DALIDataType.FLOAT16: "TYPE_FP16",
    types.DALIDataType.FLOAT: "TYPE_FP32",
    types.DALIDataType.FLOAT64: "TYPE_FP64",
}
CODESTREAM = {
    "3": "damaged image",
    "4": "not an image of a known format",
    "5": "out of memory",
}  # nvimgcodecStatus_t's numbers
DAMAGED = "the image's data are damaged or end too early"
EXTRAS = "PREPARE", "SHARE", "WARM_UP"  # of a Python file, beside its graph


def load(folder, filename, device):
    """Return (graph, EXTRAS), from the file that the config names, else from `dali.py`, as the native backend.

    A Python file may have three dicts of input name -> function, which the native backend ignores. `PREPARE` takes a
    sample (an array) and returns what the graph gets of it, or raises what is answered. `SHARE` returns the part of a
    run that the prepared sample takes up: a run holds samples up to a sum of 1, or one sample. `WARM_UP` takes nothing
    and returns samples to run before the first request (`dali_warm_up`). `device`: the GPU's number, or None for the
    CPU. Raises FileNotFoundError if neither file is there.
    """
    paths = [folder / (filename or "model.dali"), folder / "dali.py"]
    for path in paths:
        if path.exists() and path.suffix == ".py":
            return serialize(path, device)
        if path.exists():
            return path.read_bytes(), {name: {} for name in EXTRAS}
    raise FileNotFoundError(f"version {folder.name} of the model has neither {paths[0].name} nor dali.py")


def serialize(path, device):
    """Return the one `@autoserialize` pipeline of a Python file, serialised, and its EXTRAS.

    DALI's own function would take the file's `device_id`, which cannot be built where there is no GPU.
    """
    spec = importlib.util.spec_from_file_location("autoserialize_mod", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pipelines = _discover_autoserialize(module, visited=[])
    if len(pipelines) != 1:
        raise ValueError(f"{path.name} has {len(pipelines)} pipelines marked by @autoserialize, expected one")
    return pipelines[0](device_id=device).serialize(), {name: getattr(module, name, {}) for name in EXTRAS}


def num_threads(parameters):
    """Return the config's number of threads as an option of the pipeline; {} leaves it as it was serialised.

    Raises ValueError for what is no number.
    """
    if "num_threads" not in parameters:
        return {}
    given = parameters["num_threads"]["string_value"]
    if not re.fullmatch(r"[1-9][0-9]*", given):
        raise ValueError(f"parameter num_threads is '{given}', expected a whole number of threads from 1")
    return {"num_threads": int(given)}


def check(config, serialized, pipeline):
    """Raise ValueError, which names both sides, where the config differs from what the pipeline declares.

    Compared are names of inputs, the number of outputs, and types and numbers of dimensions where the pipeline declares
    them. `serialized` is what `pipeline` was made of.
    """
    declared = sources(serialized)
    inputs = {tensor["name"]: tensor for tensor in config["input"]}
    outputs = config["output"]
    if inputs.keys() != declared.keys():
        raise ValueError(f"config has inputs {sorted(inputs)}, the pipeline has {sorted(declared)}")
    if len(outputs) != pipeline.num_outputs:
        names = [tensor["name"] for tensor in outputs]
        raise ValueError(f"config has {len(outputs)} outputs {names}, the pipeline has {pipeline.num_outputs}")
    results = zip(pipeline.output_dtype(), pipeline.output_ndim(), strict=True)
    pairs = [("input", tensor, declared[name]) for name, tensor in inputs.items()]
    pairs += [("output", tensor, result) for tensor, result in zip(outputs, results, strict=True)]
    for kind, tensor, (dtype, ndim) in pairs:
        ours = (tensor["data_type"], len(tensor["dims"]) - (0 if config["max_batch_size"] else 1))
        theirs = (TRITON_TYPES.get(dtype, ours[0]), ours[1] if ndim is None else ndim)
        if ours != theirs:
            raise ValueError(
                f"{kind} '{tensor['name']}': config says {ours[0][5:]} of {ours[1]} dimensions, "
                f"the pipeline says {theirs[0][5:]} of {theirs[1]}"
            )


def sources(serialized):
    """Return the external sources of a serialised pipeline: name -> (dtype or None, ndim or None).

    DALI's Python interface does not list them, so this reads the protobuf (`dali_protobuf`).
    """
    declared = {}
    for number, operator in fields(serialized):
        if number == 5 and (1, b"ExternalSource") in (parts := list(fields(operator))):
            arguments = [dict(fields(value)) for number, value in parts if number == 4]
            integers = {argument[1]: argument[4] for argument in arguments if 4 in argument}
            dtype = types.DALIDataType(integers[b"dtype"]) if b"dtype" in integers else None
            declared[dict(parts)[5].decode()] = (dtype, integers.get(b"ndim"))
    return declared


def reason(error):
    """Return DALI's error in one line: what it encountered, and in which operator; without tracebacks.

    Codes of nvImageCodec become words, as they mean nothing to a client.
    """
    text = str(error)
    operator = re.search(r"operator `(?:nvidia\.dali\.)?([\w.]+)`", text)
    text = text.split("encountered:")[-1].split("Current pipeline object")[0].split("C++ context")[0]
    text = re.sub(r'Assert on ".*" failed:', "", text.removeprefix("Critical error in pipeline:"))
    text = re.sub(r"nvImageCodec failure: '#(\d+)'", lambda code: CODESTREAM.get(code[1], DAMAGED), text)
    text = re.sub(r"Failed to decode sample #\d+", DAMAGED, text)
    text = " ".join(text.split()).rstrip(" :") or type(error).__name__
    return f"{text} ({operator[1]})" if operator else text
