"""The CUDA execution provider: its options under the native backend's names, and a session that really uses it."""

import ctypes
from pathlib import Path

import onnxruntime as ort
from cuda_errors import shorten
from messages import one_line
from onnx_options import parameter, switch

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
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
NEEDED = {  # accelerator -> what it would take
    "tensorrt": "TensorRT (libnvinfer) and plan files made on this GPU, with NVIDIA's native backend",
    "openvino": "the OpenVINO build of ONNX Runtime, with NVIDIA's native backend",
}


def cuda_options(config):
    """Return the provider's options: of `parameters` as the native backend reads them, then of the accelerator "cuda".

    One default is not the native backend's: convolutions are chosen by cuDNN's quick heuristic, as here every size of a
    batch is a new shape; `cudnn_conv_algo_search` = "0" takes longer for each. Raises ValueError, which says what would
    be needed, for what cannot be honoured.
    """
    parameters = config["parameters"]
    options = {
        "cudnn_conv_algo_search": parameter(parameters, "cudnn_conv_algo_search", "HEURISTIC", search),
        "arena_extend_strategy": parameter(parameters, "arena_extend_strategy", "kNextPowerOfTwo", strategy),
        "do_copy_in_default_stream": str(int(parameter(parameters, "do_copy_in_default_stream", True, switch))),
    }
    if limit := parameter(parameters, "gpu_mem_limit", "", size):
        options["gpu_mem_limit"] = limit
    for name in ("use_cuda_graph", "enable_cuda_graph"):
        if parameter(parameters, name, False, switch):
            raise ValueError(f"parameter {name} is {UNFIT['enable_cuda_graph']}")
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
