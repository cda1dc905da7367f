"""Compares a network's tensors with the config's, and fills in those that the config leaves out."""

TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}
DEFAULT_MAX_BATCH_SIZE = 4  # that of Triton; a Python-based backend is not told the command line's


def check(config, session, file):
    """Raise ValueError, which names both sides, where config and network differ by the native backend's rules.

    If there is batching the network's first axis must be free. Its other free axes accept any dims in inputs,
    but must be -1 in outputs. Every input needs a place in the config, an output does not.
    """
    required, optional = tensors(session.get_inputs()), tensors(session.get_overridable_initializers())
    outputs = tensors(session.get_outputs())
    names = {tensor["name"] for tensor in config["input"]}
    if not required.keys() <= names <= required.keys() | optional.keys():
        raise ValueError(f"config has inputs {sorted(names)}, {file} has {sorted(required | optional)}")
    names = {tensor["name"] for tensor in config["output"]}
    if not names <= outputs.keys():
        raise ValueError(f"config has outputs {sorted(names)}, {file} has {sorted(outputs)}")
    if config["batch_input"] or config["batch_output"]:
        raise ValueError("config has batch_input or batch_output, which this backend does not support")
    for kind, found in (("input", required | optional), ("output", outputs)):
        for tensor in config[kind]:
            theirs = found[tensor["name"]]
            if not fits(tensor, *theirs, config["max_batch_size"], exact=kind == "output"):
                ours = text(tensor["data_type"], tensor["dims"])
                batching = f"max_batch_size {config['max_batch_size']}"
                raise ValueError(
                    f"{kind} '{tensor['name']}': config says {ours} with {batching}, {file} says {text(*theirs)}"
                )


def fits(tensor, data_type, shape, max_batch_size, exact):
    """Return whether a tensor of the config has this type and shape; its sizes may be fixed ones unless `exact`."""
    dims = [int(size) for size in tensor.get("reshape", {}).get("shape", tensor["dims"])]
    ours = [-1, *dims] if max_batch_size else dims
    theirs = [size if isinstance(size, int) else -1 for size in shape]
    if tensor["data_type"] != data_type or len(ours) != len(theirs):
        return False
    return all(a == b or (b == -1 and not exact) for a, b in zip(ours, theirs, strict=True))


def text(data_type, shape):
    """Return a type and a shape in one text, e.g. `FP32 [?,3,224,224]`."""
    return f"{data_type.removeprefix('TYPE_')} [{','.join('?' if size is None else str(size) for size in shape)}]"


def tensors(nodes):
    """Return name -> (Triton's type, shape); what is no tensor (sequences, maps) keeps ONNX's type name."""
    return {node.name: (TRITON_TYPES.get(node.type, node.type), node.shape) for node in nodes}


def complete(config, session):
    """Fill in what the native backend does: batching if every first axis is free, and the missing tensors.

    Changes `config`. Raises ValueError if it asks for batches that the network cannot take.
    """
    found = {"input": tensors(session.get_inputs()), "output": tensors(session.get_outputs())}
    shapes = [shape for kind in found.values() for _, shape in kind.values()]
    if all(shape and not isinstance(shape[0], int) for shape in shapes):
        config["max_batch_size"] = config["max_batch_size"] or DEFAULT_MAX_BATCH_SIZE
        if config["max_batch_size"] > 1 and "sequence_batching" not in config:
            config.setdefault("dynamic_batching", {})
    elif config["max_batch_size"]:
        raise ValueError(f"config says max_batch_size {config['max_batch_size']}, but the network has {shapes}")
    for kind, nodes in found.items():
        batched = config["max_batch_size"] > 0
        config[kind] = config[kind] or [entry(name, *node, batched) for name, node in nodes.items()]


def entry(name, data_type, shape, batched):
    """Return one tensor of a config, from a network's type and shape.

    A scalar per sample has dims [1] there and no axis in the network, hence the reshape.
    """
    dims = [size if isinstance(size, int) else -1 for size in (shape[1:] if batched else shape)]
    scalar = {"reshape": {"shape": []}} if batched and not dims else {}
    return {"name": name, "data_type": data_type, "dims": dims or [1], **scalar}
