"""The modules of a twin, in this process, for what no server can show without a GPU."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]
MEMORY = [
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
    "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 9",
    "Available memory of 0 is smaller than requested bytes of 256",
    "CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; file=x.cc ; line=1 ; expr=cudaMalloc",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=h",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDA runtime API error cudaErrorMemoryAllocation (2):\nout of memory",
    "CUDA driver API error CUDA_ERROR_OUT_OF_MEMORY (2):\nout of memory",
    "nvImageCodec failure: '#5'",
    "std::bad_alloc",
]
LOST = [
    "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h ; file=x.cc ; line=1 ; expr=y",
    "CUDA runtime API error cudaErrorIllegalAddress (700):\nan illegal memory access was encountered",
    "CUDA driver API error CUDA_ERROR_LAUNCH_FAILED (719):\nunspecified launch failure",
    "CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0",
    "CUDA failure 214: uncorrectable ECC error encountered ; GPU=0",
]


class Backend:
    """A twin's modules in this process, with the few things of Triton's stub that they take."""

    def __init__(self, name, monkeypatch):
        self.logged = []
        log = SimpleNamespace(log_info=self.logged.append, log_warn=self.logged.append, log_verbose=self.logged.append)
        pb = SimpleNamespace(
            Logger=log,
            TritonError=Error,
            InferenceResponse=lambda tensors=None, error=None: SimpleNamespace(tensors=tensors, error=error),
            Tensor=lambda name, array: (name, array),
        )
        monkeypatch.setitem(sys.modules, "triton_python_backend_utils", pb)
        for folder in (ROOT / "backends", ROOT / "backends" / name):
            monkeypatch.syspath_prepend(folder)
            for path in folder.glob("*.py"):
                forget_module(path.stem, monkeypatch)
        self.model = importlib.import_module("model")

    def load(self, repository, config, kind="GPU", device=0):
        """Return an instance of this kind, as the stub makes it."""
        config = {"name": "m", "default_model_filename": "", "parameters": {}, "optimization": {}, **config}
        arguments = {"model_config": json.dumps(config), "model_repository": str(repository), "model_version": "1"}
        kinds = {"model_instance_kind": kind, "model_instance_device_id": str(device), "model_instance_name": "m_0"}
        model = self.model.TritonPythonModel()
        model.initialize({**arguments, **kinds})
        return model


def forget_module(name, monkeypatch):
    """Let a module be imported anew, now and after the test: it holds the stub that was there when it was imported."""
    monkeypatch.setitem(sys.modules, name, None)
    del sys.modules[name]


class Error(SimpleNamespace):
    """Triton's error, with the codes that the twins use."""

    INVALID_ARG, UNAVAILABLE = "INVALID_ARG", "UNAVAILABLE"

    def __init__(self, message, code=None):
        super().__init__(message=message, code=code)
