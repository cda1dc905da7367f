"""Tells by a library's words what became of CUDA: out of memory, or lost to this process.

ONNX Runtime, DALI, cuDNN and cuBLAS raise plain exceptions; only their texts tell these cases apart.
"""

import os
import re

OUT_OF_MEMORY = re.compile(
    r"CUDA failure 2\b|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|out of memory|bad_alloc|bad allocation"
    r"|Failed to allocate memory|memory of \d+ is smaller than requested|(?:ALLOC|ALLOCATION)_FAILED"
    r"|nvImageCodec failure: '#5'",
    re.IGNORECASE,
)
STICKY = "214|700|702|709|710|714|715|716|717|718|719"  # cudaError_t after which every call of a process fails
LOST = re.compile(
    rf"CUDA failure (?:{STICKY})\b|cudaError\w* ?\((?:{STICKY})\)|(?:CUDNN|CUBLAS)_STATUS_EXECUTION_FAILED"
    r"|cudaError(?:ECCUncorrectable|IllegalAddress|LaunchTimeout|ContextIsDestroyed|Assert|HardwareStackError"
    r"|IllegalInstruction|MisalignedAddress|InvalidAddressSpace|InvalidPc|LaunchFailure)"
    r"|CUDA_ERROR_(?:ECC_UNCORRECTABLE|ILLEGAL_ADDRESS|LAUNCH_TIMEOUT|CONTEXT_IS_DESTROYED|ASSERT"
    r"|HARDWARE_STACK_ERROR|ILLEGAL_INSTRUCTION|MISALIGNED_ADDRESS|INVALID_ADDRESS_SPACE|INVALID_PC|LAUNCH_FAILED)"
    r"|illegal memory access was encountered|unspecified launch failure|device-side assert triggered"
)
CALL = re.compile(r"\S+\.cc:\d+ [^\[\]]*\bCudaCall\([^)]*\) \[with [^\]]*\] ?")  # of ONNX Runtime, for each call


def is_out_of_memory(error):
    """Return whether the error says that memory ran out; the next, smaller run may succeed."""
    return isinstance(error, MemoryError) or bool(OUT_OF_MEMORY.search(str(error)))


def is_lost(error):
    """Return whether this process cannot use its GPU any more: all further calls fail, or give garbage."""
    return bool(LOST.search(str(error)))


def end_if_lost(error):
    """End the process if its GPU is lost: a dead stub is noticed and reloaded, a live one would refuse all requests."""
    if is_lost(error):
        end("the GPU is lost to this process", error)


def end(what, error):
    """End the process at once, with a line in the server's log; nothing may be computed any more."""
    print(f"{what}, which ends so that it is restarted: {error}", flush=True)
    os._exit(1)


def shorten(error):
    """Return an error's text without what ONNX Runtime adds to CUDA's: C++ functions, host name, file, expression."""
    text = re.sub(r" ?; GPU=\d+ ; hostname=.*", "", str(error), flags=re.DOTALL)
    return CALL.sub("", text) or type(error).__name__
