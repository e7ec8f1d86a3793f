"""What went wrong with a step: out of memory, or a compiler that cannot."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that a device or the machine has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator, cuBLAS and cuDNN say it in a plain RuntimeError; a rank's error arrives as a text.
    said = str(error)
    signs = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA out of memory", "OutOfMemoryError")
    return isinstance(error, RuntimeError) and any(sign in said for sign in signs)


def first_line(error: BaseException) -> str:
    """Return the type and first line of an error, short enough for a note."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]
