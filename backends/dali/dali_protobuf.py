"""Reads and rewrites a serialised DALI pipeline (protobuf, dali/pipeline/dali.proto), as DALI's Python cannot.

In a PipelineDef op = 5, pipe_outputs = 7, device_id = 8; in an OpDef name = 1, input = 2, output = 3, args = 4,
inst_name = 5; in an InputOutput name = 1, device = 2; in an Argument name = 1, ints = 4, strings = 5.
"""

CPU_ONLY = -99999  # DALI's device_id of a pipeline without a GPU
VARINT = 10  # bytes of a number at most
LENGTHS = {1: 8, 5: 4}  # bytes of fixed-width wire types; https://protobuf.dev/programming-guides/encoding


def to_cpu(pipeline):
    """Return (the pipeline with every operator and tensor on the CPU, the names of the operators that were not).

    Raises ValueError for what is no serialised pipeline.
    """
    moved, parts = [], []
    for key, value in raw_fields(pipeline):
        if key >> 3 == 5:
            value, name = operator_to_cpu(value)
            moved += [name] if name else []
        elif key >> 3 == 7:
            value = tensor_to_cpu(value)
        elif key >> 3 == 8:
            value = CPU_ONLY % 2**64
        parts.append((key, value))
    return message(parts), moved


def operator_to_cpu(operator):
    """Return (an OpDef on the CPU, its name if it was elsewhere)."""
    parts, moved = [], False
    for key, value in raw_fields(operator):
        if key >> 3 in (2, 3):
            value = tensor_to_cpu(value)
        elif key >> 3 == 4 and (1, b"device") in list(fields(value)):
            was = dict(fields(value)).get(5)
            moved |= was != b"cpu"
            value = message([(k, b"cpu" if k >> 3 == 5 else v) for k, v in raw_fields(value)])
        parts.append((key, value))
    name = dict(fields(operator)).get(1, b"an operator without a name")
    return message(parts), name.decode(errors="replace").replace("__", ".") if moved else None


def tensor_to_cpu(tensor):
    """Return an InputOutput on the CPU."""
    return message([(key, b"cpu" if key >> 3 == 2 else value) for key, value in raw_fields(tensor)])


def fields(encoded):
    """Yield (number, integer or bytes) of each field of a protobuf message."""
    for key, value in raw_fields(encoded):
        yield key >> 3, value


def raw_fields(encoded):
    """Yield (key, integer or bytes) of each field; the key is 8 * number + wire type.

    Raises ValueError where it is no protobuf message.
    """
    if isinstance(encoded, int):
        raise ValueError(f"the number {encoded} stands where a message is expected")
    at = 0
    while at < len(encoded):
        key, at = varint(encoded, at)
        if (wire := key & 7) == 0:
            value, at = varint(encoded, at)
        elif wire in LENGTHS or wire == 2:
            length, at = (LENGTHS[wire], at) if wire in LENGTHS else varint(encoded, at)
            value, at = encoded[at : at + length], at + length
            if len(value) < length:
                raise ValueError(f"it ends after {len(encoded)} bytes, within a field")
        else:
            raise ValueError(f"a field of the unknown kind {wire} ends at byte {at}")
        yield key, value


def message(parts):
    """Return the protobuf message of these (key, integer or bytes)."""
    encoded = b""
    for key, value in parts:
        encoded += encode(key)
        if isinstance(value, int):
            encoded += encode(value)
        else:
            encoded += (encode(len(value)) if key & 7 == 2 else b"") + value
    return encoded


def varint(encoded, at):
    """Return (the base-128 varint at this offset, the offset behind it). Raises ValueError where there is none."""
    value = 0
    for shift, byte in enumerate(encoded[at : at + VARINT]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, at + shift + 1
    raise ValueError(f"no number is at byte {at} of {len(encoded)}")


def encode(value):
    """Return a number of 0 or more as a base-128 varint."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
