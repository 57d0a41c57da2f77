"""A device that is the same on every machine and under every load; its figures are those of one core, measured once."""

from __future__ import annotations

from objectives.device_model import DeviceModel

ONE_CORE = DeviceModel(
    name="cpu: one core (1 thread)",
    weights={
        "attention": (3.8e-5, 1.6e-9, 1.4e-11),
        "conv": (2.4e-5, 1.8e-11, 0.0, 6.5e-10, 1.2e-10),
        "conv_grouped": (2.3e-4, 1.3e-11, 2.7e-9, 1.6e-10, 2.6e-9),
        "conv_grouped_1x1": (8.7e-5, 1.5e-11, 0.0, 1.4e-9, 0.0),
        "conv_transposed": (1.1e-4, 3.8e-11, 8.6e-10, 0.0),
        "conv_transposed_grouped": (2.3e-4, 4.4e-11, 9.6e-10, 1.6e-8),
        "conv_unfolded": (4.5e-5, 0.0, 3.1e-10, 2.8e-9, 0.0),
        "glue": (5.6e-4, 8.3e-5, 0.0, 2.3e-4),
        "layer_norm": (3.8e-5, 1.3e-9),
        "linear": (4.1e-5, 2.0e-11, 2.1e-10, 1.7e-10),
        "linear_int8": (3.2e-4, 1.5e-11, 2.3e-10, 0.0),
        "norm": (4.3e-5, 7.6e-10),
        "norm_flexible": (3.0e-4, 2.7e-9, 0.0),
        "restore_4": (1.0e-4, 2.2e-9, 2.0e-5),
        "restore_8": (1.1e-4, 3.8e-9, 8.0e-6),
    },
    generation_seconds=9.1e-4,
    forward_macs_per_second=4.0e10,
    forward_layer_seconds=2.3e-4,
    train_macs_per_second=1.1e10,
    train_layer_seconds=5.9e-4,
)
