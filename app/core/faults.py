"""Classifies exceptions of the compute libraries: is the job at fault, or memory, the device, or the process?

One table for all engines and for the worker. It reads the type's name and the text, because the same fault has many
types (RuntimeError, AcceleratorError, OutOfMemoryError), and needs no torch. The first matching line counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum


class Fault(StrEnum):
    """What an exception is the fault of."""

    JOB = "job"  # the request cannot be drawn: no other process would do better
    MEMORY = "memory"  # too little of it: the job may fit when room is made
    DEVICE = "device"  # the accelerator is in a bad state; every further call of this process may fail
    PROCESS = "process"  # this process or its environment is broken, whatever the job

    @property
    def beyond_the_job(self) -> bool:
        return self is not Fault.JOB


# (fault, pattern of the text). Order matters: an allocation that failed inside of cuDNN is no internal error.
_TEXTS: list[tuple[Fault, tuple[str, ...]]] = [
    (
        Fault.MEMORY,
        (
            r"\b(CUDA|HIP|XPU|MPS backend) out of memory\b",
            r"\b(CUDA|HIP|XPU)( driver)? error: out of memory",
            r"Triton Error \[\w+\]: out of memory",
            r"STATUS_(INTERNAL_ERROR_(HOST|DEVICE)_)?ALLOC(ATION)?_FAILED|CUFFT_ALLOC_FAILED|miopenStatusAllocFailed",
            r"unable to find an engine to execute this computation|Unable to find a valid cuDNN algorithm",
            r"(CU|HIP)BLAS_STATUS_NOT_INITIALIZED",  # its handle could not be allocated
            r"kIOGPUCommandBufferCallbackErrorOutOfMemory|Invalid buffer size: ",
            r"(UR_RESULT|PI)_ERROR_OUT_OF_(RESOURCES|DEVICE_MEMORY|HOST_MEMORY)|PI_ERROR_MEM_OBJECT_ALLOCATION_FAILURE",
            r"DefaultCPUAllocator|std::bad_alloc|Cannot allocate memory",
            r"NVML_SUCCESS == .* INTERNAL ASSERT FAILED",  # of torch's allocator, out of memory
        ),
    ),
    (
        Fault.PROCESS,
        (
            r"no CUDA-capable device is detected|CUDA error: initialization error|invalid device ordinal",
            r"no kernel image is available|device kernel image is invalid|HIP error: invalid device function",
            r"system not yet initialized|driver version is insufficient|NVIDIA driver on your system",
            r"No (CUDA|HIP) GPUs are available|from cudaGetDeviceCount|CUDA unknown error|Cannot re-initialize CUDA",
            r"STATUS_ARCH_MISMATCH|CUDNN_STATUS_NOT_INITIALIZED|CUDNN_STATUS_\w*VERSION_MISMATCH|hipErrorNoBinaryForGpu",
            r"ncclSystemError|ncclRemoteError",
            r"can't start new thread|Too many open files",
        ),
    ),
    (
        Fault.JOB,
        (
            r"shapes cannot be multiplied|must match the size of tensor|Sizes of tensors must match",
            r"is invalid for input of size|Given groups=|[Ii]nput type .* should be the same",
            r"Calculated padded input size",
            r"invalid configuration argument|out of resource: shared memory",
        ),
    ),
    (
        Fault.DEVICE,
        (
            r"illegal memory access|device-side assert|launch failure|misaligned address|illegal instruction",
            r"invalid program counter|hardware stack error|launch timed out|ECC error|NVLink error|over nvlink or a",
            r"operation not supported on global/shared address space|(CUDA|HIP) error: unknown error",
            r"driver shutting down|context is destroyed|busy or unavailable|GPU is lost|fallen off the bus",
            r"(BLAS|SOLVER|CUDNN)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)|CUFFT_(EXEC_FAILED|INTERNAL_ERROR)",
            r"miopenStatus(Unknown|Internal)Error|ncclUnhandledCudaError|unhandled cuda error",
            r"kIOGPUCommandBufferCallbackError",
            r"(UR_RESULT|PI)_ERROR_DEVICE_(LOST|NOT_FOUND)",
        ),
    ),
]
_TABLE = [(fault, re.compile("|".join(patterns))) for fault, patterns in _TEXTS]
_MEMORY_TYPES = frozenset({"MemoryError", "OutOfMemoryError", "_ArrayMemoryError"})


def classify(type_name: str, text: str) -> Fault | None:
    """The fault of an exception with this type and text; None for one that the table does not have."""
    if type_name in _MEMORY_TYPES:
        return Fault.MEMORY
    return next((fault for fault, pattern in _TABLE if pattern.search(text)), None)


def fault_of(error: BaseException) -> Fault | None:
    """As `classify`, for an exception or the first of its causes that the table has: libraries wrap what broke a
    load."""
    for one in _chain(error):
        fault = Fault.MEMORY if isinstance(one, MemoryError) else classify(type(one).__name__, str(one))
        if fault is not None:
            return fault
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that RAM or memory of the device ran out."""
    return fault_of(error) is Fault.MEMORY


def is_beyond_the_job(error: BaseException) -> bool:
    """Whether `error` is of memory, the device or the process: it must not be reported as a fault of files or of a
    request."""
    fault = fault_of(error)
    return fault is not None and fault.beyond_the_job


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what caused it, but for what was suppressed with `from None`."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
