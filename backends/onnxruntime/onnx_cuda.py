"""The CUDA execution provider: its options under the native backend's names, and a session that really uses it."""

import ctypes
import re
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from cuda_errors import is_lost, is_out_of_memory, shorten
from messages import one_line
from onnx_options import parameter, switch

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
WARM_UP_SECONDS = 30  # no further batch size is tried after that
ON, NUMBER = ("0", "1"), None
OPTIONS = {  # of an accelerator called "cuda": name -> the values that it may have; NUMBER: a whole number
    "arena_extend_strategy": ("kNextPowerOfTwo", "kSameAsRequested"),
    "cudnn_conv1d_pad_to_nc1d": ON,
    "cudnn_conv_algo_search": ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
    "cudnn_conv_use_max_workspace": ON,
    "do_copy_in_default_stream": ON,
    "enable_skip_layer_norm_strict_mode": ON,
    "fuse_conv_bias": ON,
    "gpu_mem_limit": NUMBER,
    "prefer_nhwc": ON,
    "sdpa_kernel": NUMBER,
    "tunable_op_enable": ON,
    "tunable_op_max_tuning_duration_ms": NUMBER,
    "tunable_op_tuning_enable": ON,
    "use_ep_level_unified_stream": ON,
    "use_tf32": ON,
}
UNFIT = {  # what CUDA has, but not here
    "device_id": "set by instance_group { gpus }",
    "enable_cuda_graph": "not possible here: a CUDA graph needs tensors of one shape at fixed addresses on the GPU",
    "user_compute_stream": "a pointer of the native backend's process",
    "has_user_compute_stream": "a pointer of the native backend's process",
}
FAULTY = re.compile(r"CUDA failure|CUDNN|cuDNN|CUBLAS|CUFFT|libcu\w+\.so")  # in errors that no input causes
NEEDED = {  # accelerator -> what it would take
    "tensorrt": "TensorRT (libnvinfer) and plan files made on this GPU, with NVIDIA's native backend",
    "openvino": "the OpenVINO build of ONNX Runtime, with NVIDIA's native backend",
}


def cuda_options(config):
    """Return the provider's options: of `parameters` as the native backend reads them, then of the accelerator "cuda".

    One default is not the native backend's: convolutions are chosen by heuristic instead of by trying all algorithms,
    which takes seconds for every new shape, and here every size of a batch is one. `cudnn_conv_algo_search` = "0"
    tries them all. Raises ValueError, which says what would be needed, for what cannot be honoured.
    """
    parameters = config["parameters"]
    options = {
        "cudnn_conv_algo_search": parameter(parameters, "cudnn_conv_algo_search", "HEURISTIC", search),
        "arena_extend_strategy": parameter(parameters, "arena_extend_strategy", "kNextPowerOfTwo", strategy),
        "do_copy_in_default_stream": str(int(parameter(parameters, "do_copy_in_default_stream", True, switch))),
    }
    if limit := parameter(parameters, "gpu_mem_limit", "", size):
        options["gpu_mem_limit"] = limit
    accelerators = config["optimization"].get("execution_accelerators", {})
    for accelerator in accelerators.get("cpu_execution_accelerator", []):
        raise ValueError(unknown(accelerator["name"]))
    for accelerator in accelerators.get("gpu_execution_accelerator", []):
        if accelerator["name"] != "cuda":
            raise ValueError(unknown(accelerator["name"]))
        for key, value in accelerator.get("parameters", {}).items():
            options[key] = checked(key, value)
    return options


def unknown(name):
    """Return why this accelerator is refused."""
    needed = f"needs {NEEDED[name]}" if name in NEEDED else "is unknown"
    return f"execution accelerator '{name}' {needed}; this backend has 'cuda' for instances of KIND_GPU"


def checked(key, value):
    """Return the value of an option of the accelerator "cuda". Raises ValueError if CUDA or this backend has none."""
    if key in UNFIT:
        raise ValueError(f"option {key} of the execution accelerator 'cuda' is {UNFIT[key]}")
    if key not in OPTIONS:
        raise ValueError(f"option {key} of the execution accelerator 'cuda' is unknown; it has {', '.join(OPTIONS)}")
    allowed = OPTIONS[key]
    if allowed == ON:
        value = {"true": "1", "false": "0"}.get(value.lower(), value)
    if not (value.isdecimal() if allowed is NUMBER else value in allowed):
        expected = "a whole number" if allowed is NUMBER else " or ".join(allowed)
        raise ValueError(f"option {key} of the execution accelerator 'cuda' is '{value}', expected {expected}")
    return value


def search(text):
    """0 (EXHAUSTIVE), 1 (HEURISTIC) or 2 (DEFAULT)"""
    return {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"}[text]


def strategy(text):
    """0 (kNextPowerOfTwo) or 1 (kSameAsRequested)"""
    return {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"}[text]


def size(text):
    """a whole number of bytes"""
    if not text.isdecimal():
        raise ValueError
    return text


def open_session(path, options, device, provider_options):
    """Return a session on this GPU, or on the CPU if `device` is None.

    ONNX Runtime goes on with the CPU if CUDA does not start, and again if a run fails there: both are switched off.
    Raises RuntimeError, which says what is missing and what to do, where CUDA does not start.
    """
    if device is None:
        return ort.InferenceSession(path, options, providers=[CPU])
    if CUDA not in ort.get_available_providers():
        raise RuntimeError("CUDA was asked for, and onnxruntime-gpu is not installed: run `make env GPU=1`")
    ort.preload_dlls()
    providers = [(CUDA, {"device_id": str(device), **provider_options}), CPU]
    try:
        session = ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:
        raise RuntimeError(f"CUDA did not start on GPU {device}: {one_line(shorten(error))}") from None
    if session.get_providers()[0] != CUDA:
        raise RuntimeError(f"CUDA was asked for, and ONNX Runtime gave the CPU instead: {obstacle()}")
    return session


def obstacle():
    """Return why ONNX Runtime could not use CUDA, and the remedy, in one line."""
    library = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    remedy = "run `make env GPU=1`, or put the folders of CUDA's libraries into LD_LIBRARY_PATH"
    try:
        ctypes.CDLL(str(library.with_name("libonnxruntime_providers_shared.so")), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        return f"{one_line(error)}; {remedy}"
    try:
        code = ctypes.CDLL("libcuda.so.1").cuInit(0)
    except OSError:
        return "no NVIDIA driver answers (libcuda.so.1); install one"
    if code:
        return f"the NVIDIA driver answers with error {code}; see `nvidia-smi`"
    return f"is the driver new enough for CUDA {getattr(ort, 'cuda_version', '')}? See the server's log"


def warm_up(config, run, least=0):
    """Run the network on zeros once per batch size 1, 2, 4 ...; return the sizes that ran.

    CUDA loads a kernel when it first runs, and cuDNN chooses one per shape: seconds that no request should wait for.
    `run(feed)` runs the network; `least`: how many elements a sample needs, for inputs of one free size, of which only
    one sample is tried. Inputs of text or of several free sizes are not tried. Raises RuntimeError where the GPU cannot
    run the network at all: cuDNN is missing, which nothing asks for until then, or memory is short for the first size.
    """
    dims = {tensor["name"]: [int(size) for size in tensor["dims"]] for tensor in config["input"]}
    dtypes = {tensor["name"]: NUMPY_TYPES.get(tensor["data_type"]) for tensor in config["input"]}
    free = [size for shape in dims.values() for size in shape if size < 0]
    if None in dtypes.values() or len(free) > 1 or (free and not least):
        return []
    most = config["max_batch_size"] if not free else min(1, config["max_batch_size"])
    sizes = sorted({2**power for power in range(most.bit_length())} | {most}) if most else [None]
    began, ran = time.monotonic(), []
    for rows in sizes:
        if time.monotonic() - began > WARM_UP_SECONDS:
            break
        shapes = {name: ([] if rows is None else [rows]) + filled(shape, least) for name, shape in dims.items()}
        try:
            run({name: np.zeros(shape, dtypes[name]) for name, shape in shapes.items()})
        except Exception as error:
            text = one_line(shorten(error))
            if is_lost(error) or (not ran and (is_out_of_memory(error) or FAULTY.search(text))):
                raise RuntimeError(f"the GPU does not run the network: {text}") from None
            print(f"{config['name']}: no warm-up with {rows} rows: {text}", flush=True)
            if is_out_of_memory(error):
                break
            continue
        ran.append(rows)
    return ran


def filled(shape, least):
    """Return a shape with its one free size set to what gives `least` elements."""
    fixed = int(np.prod([size for size in shape if size >= 0]))
    return [size if size >= 0 else -(-least // max(fixed, 1)) for size in shape]


NUMPY_TYPES = {
    "TYPE_BOOL": np.bool_,
    "TYPE_UINT8": np.uint8,
    "TYPE_UINT16": np.uint16,
    "TYPE_UINT32": np.uint32,
    "TYPE_UINT64": np.uint64,
    "TYPE_INT8": np.int8,
    "TYPE_INT16": np.int16,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
    "TYPE_FP64": np.float64,
}
