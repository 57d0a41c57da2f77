"""How much memory generating takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from objectives.objective import OBJECTIVES, Measurement, Objective
from trainers.bounds import BatchSize
from trainers.models.stored_bits import scale_bytes, weight_bytes

if TYPE_CHECKING:
    from objectives.device_model import DeviceModel
    from trainers.models.arch_spec import ArchSpec, Layer
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_BYTES_PER_MB = 1_000_000
#: All steps need the same; the second one may still hold something of the first.
_STEPS = 2
_FLOAT_BYTES = 4
#: What is alive at the most demanding layer, in units of its input and output: they themselves, skips, a residual.
#: Measured; the same for U-Nets with and without attention, the guided one and the score network.
_ALIVE = 2.4
#: While a quantised weight is restored: the float weight, its codes' places in the table, and the products.
_RESTORING = 3.0


@OBJECTIVES.register("peak_memory_mb")
@dataclass(frozen=True, kw_only=True)
class PeakMemoryMb(Objective):
    """Most memory of weights and activations while one batch is generated, in MB of 10^6 bytes.

    On a GPU what its allocator gave out, with the workspaces of the kernels. On a CPU the tensors alive at once, which
    is the same each time; what a kernel needs within itself is not seen there. ``Measurement.by`` tells which. The
    program itself and its libraries are not counted. Predicted to about 5 % as a CPU has it, 12 % at
    worst of what was tried.

    Args:
        batch: Images at a time.
    """

    title = "Peak memory of one batch"
    unit = "MB"

    batch: BatchSize = 16

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        from objectives._generation import generation
        from objectives._memory import peak_bytes

        model = model.to(run.device)
        # A copy, because what a layer keeps from earlier calls, such as restored weights, counts as well.
        steps = min(_STEPS, model.spec.sampling_steps)
        model = replace(model, net=model.copy_of_net(), spec=model.spec.with_sampling_steps(steps))
        held = list(model.net.state_dict().values())
        # The tables of the process are made once per program, and would count for whoever asks first.
        model.spec.diffusion.alpha_sigma(model.spec.diffusion.timesteps(1).to(run.device))
        peak = peak_bytes(generation(model, batch=self.batch), held=held, device=run.device)
        return Measurement(value=peak / _BYTES_PER_MB, by="allocator" if run.device.type == "cuda" else "tensors alive")

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        # Guidance asks the network with and without labels in one batch.
        images = self.batch * spec.evaluations / spec.sampler.evaluations(spec.sampling_steps)
        layers = spec.layers.values()
        working = max(_restored_bytes(layer) + images * _activation_bytes(layer) for layer in layers)
        return (sum(map(_weight_bytes, layers)) + working) / _BYTES_PER_MB


def _activation_bytes(layer: Layer) -> float:
    return _ALIVE * _FLOAT_BYTES * (layer.inputs + layer.outputs) * layer.positions


def _weight_bytes(layer: Layer) -> int:
    """As they are held: float16 is for files only, and restored weights are kept where the layer says so."""
    if layer.kind == "constant" or layer.bits > 8:
        return _FLOAT_BYTES * (layer.parameters or layer.outputs)
    biases = _FLOAT_BYTES * layer.outputs if layer.bias else 0
    cached = _FLOAT_BYTES * layer.weights if layer.is_cached else 0
    return weight_bytes(layer) + scale_bytes(layer) + biases + cached


def _restored_bytes(layer: Layer) -> float:
    is_restored = layer.bits <= 8 and layer.format != "llm_int8" and not layer.is_cached
    return _RESTORING * _FLOAT_BYTES * layer.weights if is_restored else 0.0
