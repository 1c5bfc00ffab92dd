"""Which precision pays on this machine."""

from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
"""CPU features that multiply bfloat16; without them it is emulated, and slower than float32."""


def cpu_multiplies_bf16(cpu_info: Path = CPU_INFO) -> bool:
    """Return whether the CPU has instructions for bfloat16; False where that cannot be read."""
    try:
        text = cpu_info.read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return bool(BF16_FLAGS & set(flags.split()))


def trains_on_gpu(accelerator: str) -> bool:
    """Return whether Lightning's flag "accelerator" means a CUDA device on this machine."""
    return accelerator in {"gpu", "cuda"} or (accelerator == "auto" and torch.cuda.is_available())


def choose_precision(wanted: str, accelerator: str) -> str:
    """Return Lightning's precision flag; "auto" is resolved for the accelerator."""
    if wanted != "auto":
        return wanted
    fast = torch.cuda.is_bf16_supported() if trains_on_gpu(accelerator) else cpu_multiplies_bf16()
    return "bf16-mixed" if fast else "32-true"
