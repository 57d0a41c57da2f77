"""Libraries that talk on a user's terminal are told not to."""

import logging
import os
import warnings


def silence_libraries() -> None:
    """Hide notes about missing optional kernels and CUDA; warnings that concern a user are ours to give."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("bitsandbytes", "torch.utils.cpp_extension", "diffusers", "torch._inductor", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch_pruning|torch_fidelity|optuna|diffusers|ray")
