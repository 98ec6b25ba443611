"""What an engine's exception means, by the real texts of torch, CUDA, ROCm, Metal, XPU, NCCL and the C library."""

from __future__ import annotations

import pytest

from app.core.faults import Fault, classify, fault_of

MORE = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be"
    " incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable"
    " device-side assertions."
)
SEARCH = "\nSearch for `cudaErrorLaunchFailure' in https://docs.nvidia.com/cuda/cuda-runtime-api/ for more information."

MEMORY = [
    ("MemoryError", ""),
    ("_ArrayMemoryError", "Unable to allocate 7.45 GiB for an array with shape (1000000000,) and data type float64"),
    ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 7.79 GiB"),
    ("OutOfMemoryError", "HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.98 GiB"),
    ("OutOfMemoryError", "XPU out of memory. Tried to allocate 4.00 GiB. GPU 0 has a total capacity of 15.91 GiB"),
    ("RuntimeError", "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 7.79 GiB total capacity)"),
    ("AcceleratorError", "CUDA error: out of memory" + MORE),
    ("RuntimeError", "CUDA driver error: out of memory"),
    ("RuntimeError", "Triton Error [CUDA]: out of memory"),
    ("RuntimeError", "HIP error: out of memory\nHIP kernel errors might be asynchronously reported"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ("RuntimeError", "GET was unable to find an engine to execute this computation"),
    ("RuntimeError", "FIND was unable to find an engine to execute this computation"),
    ("RuntimeError", "Unable to find a valid cuDNN algorithm to run convolution"),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    ("RuntimeError", "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"),
    ("RuntimeError", "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
    ("RuntimeError", "cuFFT error: CUFFT_ALLOC_FAILED"),
    ("RuntimeError", "miopenStatusAllocFailed"),
    (
        "RuntimeError",
        "MPS backend out of memory (MPS allocated: 9.05 GB, other allocations: 1.08 MB, max allowed: 9.07 GB)."
        " Tried to allocate 25.00 MB on private pool.",
    ),
    ("RuntimeError", "Invalid buffer size: 16.00 GiB"),
    ("RuntimeError", "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"),
    ("RuntimeError", "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
    ("RuntimeError", "level_zero backend failed with error: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)"),
    ("RuntimeError", "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES) -5"),
    (
        "RuntimeError",
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
        " allocate 70368744177664 bytes. Error code 12 (Cannot allocate memory)",
    ),
    ("RuntimeError", "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory"),
    ("RuntimeError", 'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "../c10/cuda/CUDACachingAllocator.cpp":1131'),
    ("RuntimeError", "std::bad_alloc"),
    ("OSError", "[Errno 12] Cannot allocate memory"),
    ("RuntimeError", "unable to mmap 9975571880 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
]
DEVICE = [
    *[
        (kind, f"CUDA error: {what}{more}")
        for kind, more in (("RuntimeError", MORE), ("AcceleratorError", SEARCH + MORE))
        for what in (
            "an illegal memory access was encountered",
            "device-side assert triggered",
            "unspecified launch failure",
            "misaligned address",
            "an illegal instruction was encountered",
            "invalid program counter",
            "hardware stack error",
            "the launch timed out and was terminated",
            "uncorrectable ECC error encountered",
            "uncorrectable NVLink error detected during the execution",
            "Invalid access of peer GPU memory over nvlink or a hardware error",
            "operation not supported on global/shared address space",
            "unknown error",
            "driver shutting down",
            "context is destroyed",
            "all CUDA-capable devices are busy or unavailable",
            "CUDA-capable device(s) is/are busy or unavailable",
        )
    ],
    ("AcceleratorError", "CUDA error: GPU is lost" + MORE),
    ("RuntimeError", "CUDA driver error: an illegal memory access was encountered"),
    ("RuntimeError", "Triton Error [CUDA]: an illegal memory access was encountered"),
    (
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa`",
    ),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasCreate(handle)`"),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_MAPPING_ERROR when calling `cublasSgemm`"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_MAPPING_ERROR"),
    ("RuntimeError", "cuFFT error: CUFFT_EXEC_FAILED"),
    ("RuntimeError", "cusolver error: CUSOLVER_STATUS_EXECUTION_FAILED, when calling `cusolverDnSgetrf`"),
    ("RuntimeError", "HIP error: an illegal memory access was encountered\nHIP kernel errors might be asynchronously"),
    ("RuntimeError", "HIP error: unspecified launch failure"),
    ("RuntimeError", "CUDA error: HIPBLAS_STATUS_INTERNAL_ERROR when calling `hipblasSgemm`"),
    ("RuntimeError", "CUDA error: HIPBLAS_STATUS_EXECUTION_FAILED when calling `hipblasSgemm`"),
    ("RuntimeError", "miopenStatusUnknownError"),
    ("RuntimeError", "miopenStatusInternalError"),
    ("RuntimeError", "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)"),
    ("RuntimeError", "Caused GPU Hang Error (00000003:kIOGPUCommandBufferCallbackErrorHang)"),
    (
        "RuntimeError",
        "Ignored (for causing prior GPU errors) (kIOGPUCommandBufferCallbackErrorSubmissionsIgnored)",
    ),
    ("RuntimeError", "level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)"),
    ("RuntimeError", "Native API failed. Native API returns: -1 (PI_ERROR_DEVICE_NOT_FOUND) -1"),
    (
        "DistBackendError",
        "NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1691, unhandled cuda error (run with"
        " NCCL_DEBUG=INFO for details), NCCL version 2.19.3\nncclUnhandledCudaError: Call to CUDA function failed.",
    ),
    ("NVMLError_GpuIsLost", "GPU is lost"),
    ("RuntimeError", "Unable to determine the device handle for GPU0000:01:00.0: GPU is lost. Reboot the system"),
]
PROCESS = [
    ("AcceleratorError", "CUDA error: no CUDA-capable device is detected" + MORE),
    ("AcceleratorError", "CUDA error: initialization error" + MORE),
    ("AcceleratorError", "CUDA error: invalid device ordinal" + MORE),
    ("RuntimeError", "CUDA error: no kernel image is available for execution on the device" + MORE),
    ("RuntimeError", "CUDA error: device kernel image is invalid" + MORE),
    ("RuntimeError", "CUDA error: system not yet initialized"),
    ("RuntimeError", "CUDA error: CUDA driver version is insufficient for CUDA runtime version"),
    ("RuntimeError", "The NVIDIA driver on your system is too old (found version 12020)."),
    ("RuntimeError", "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"),
    ("RuntimeError", "No CUDA GPUs are available"),
    ("RuntimeError", "No HIP GPUs are available"),
    (
        "RuntimeError",
        "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before",
    ),
    ("RuntimeError", "CUDA unknown error - this may be due to an incorrectly set up environment"),
    ("RuntimeError", "Cannot re-initialize CUDA in forked subprocess."),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_ARCH_MISMATCH when calling `cublasSgemm`"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"),
    ("RuntimeError", "HIP error: invalid device function"),
    ("RuntimeError", "hipErrorNoBinaryForGpu: Unable to find code object for all current devices!"),
    (
        "DistBackendError",
        "NCCL error: unhandled system error\nncclSystemError: System call failed",
    ),
    ("RuntimeError", "can't start new thread"),
    ("RuntimeError", "can't start new thread: Resource temporarily unavailable"),
    ("OSError", "[Errno 24] Too many open files: '/models/flux/model_index.json'"),
    ("RuntimeError", "Unable to open shared memory object </torch_31_12> in read-write mode: Too many open files (24)"),
    ("OSError", "[Errno 23] Too many open files in system"),
]
JOB = [
    ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied (154x2048 and 768x3072)"),
    ("RuntimeError", "The size of tensor a (64) must match the size of tensor b (63) at non-singleton dimension 3"),
    ("RuntimeError", "Sizes of tensors must match except in dimension 1. Expected size 64 but got size 63 for tensor"),
    ("RuntimeError", "Given groups=1, weight of size [320, 4, 3, 3], expected input[2, 9, 64, 64] to have 4 channels"),
    ("RuntimeError", "shape '[2, 77, 768]' is invalid for input of size 231"),
    ("RuntimeError", "Input type (c10::Half) and bias type (float) should be the same"),
    ("RuntimeError", "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3)."),
    ("AcceleratorError", "CUDA error: invalid configuration argument" + MORE),
    ("OutOfResources", "out of resource: shared memory, Required: 180224, Hardware limit: 101376."),
]
UNKNOWN = [
    ("RuntimeError", "something that nobody foresaw"),
    ("RuntimeError", "secret path /home/somebody/x.safetensors"),
    ("AttributeError", "'NoneType' object has no attribute 'shape'"),
    ("ValueError", "the prompt speaks of running out of memory lane"),
    ("OSError", "[Errno 5] Input/output error"),
    ("ImportError", "libcudart.so.12: cannot open shared object file: No such file or directory"),
]
TABLE = [
    *[(*case, Fault.MEMORY) for case in MEMORY],
    *[(*case, Fault.DEVICE) for case in DEVICE],
    *[(*case, Fault.PROCESS) for case in PROCESS],
    *[(*case, Fault.JOB) for case in JOB],
    *[(*case, None) for case in UNKNOWN],
]


@pytest.mark.parametrize(("name", "text", "expected"), TABLE, ids=lambda value: str(value)[:50])
def test_real_texts(name: str, text: str, expected: Fault | None) -> None:
    assert classify(name, text) is expected


def test_the_cause_of_a_wrapped_error_counts() -> None:
    """diffusers and transformers wrap what broke a load in an OSError of their own."""
    cause, wrapper = RuntimeError("CUDA error: unspecified launch failure"), OSError("Unable to load weights")
    wrapper.__cause__ = cause
    assert fault_of(wrapper) is Fault.DEVICE
    wrapper.__cause__, wrapper.__context__, wrapper.__suppress_context__ = None, cause, False
    assert fault_of(wrapper) is Fault.DEVICE
    wrapper.__suppress_context__ = True  # from None
    assert fault_of(wrapper) is None


def test_a_subclass_of_memory_error_counts_as_one() -> None:
    class Odd(MemoryError):
        pass

    assert fault_of(Odd("x")) is Fault.MEMORY
