"""Everything that can go wrong is found here, before anything is trained and before Ray starts."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search._space_file import read_text
from search.known import Foresight, Known
from trainers.errors import UserError
from trainers.foreign import refuse_links_out

if TYPE_CHECKING:
    import torch

    from search.space import Candidate, Space
    from trainers.models.arch_spec import ArchSpec

_RANDOM_CANDIDATES = 300
_MISTAKES_SHOWN = 20
_SPARE_BYTES = 200 * 10**6
_LARGE_MACS = 20 * 10**9


@dataclass(frozen=True)
class Survey:
    """What a space holds, seen without training.

    Args:
        smallest, largest: Candidates with the fewest and the most stored bytes.
        feasible_share: Of random candidates, how many meet all constraints and known limits.
        knobs: Number of knobs, conditional ones included.
        typical: Random candidates that meet them, with their architectures.
    """

    smallest: tuple[dict[str, Any], Known]
    largest: tuple[dict[str, Any], Known]
    feasible_share: float
    knobs: int
    typical: tuple[tuple[Candidate, ArchSpec], ...]


def check_recipes(space: Space, teacher: ArchSpec, *, subject: str) -> None:
    """Every stage of every candidate that is looked at can be applied to what the stages before it make.

    Raises:
        SpaceError: for the file ``subject``, when one cannot.
    """
    from search.space_error import Mistake, SpaceError

    corners, drawn = _candidates(space)
    found = dict.fromkeys(text for candidate in (*corners, *drawn) for text in space.fill(candidate).mistakes(teacher))
    if found:
        raise SpaceError(subject, [Mistake(text=text) for text in list(found)[:_MISTAKES_SHOWN]])


def survey(foresight: Foresight) -> Survey:
    """Look at every corner of the space and at random candidates; ``check_recipes`` was called before.

    Raises:
        UserError: when no candidate meets the limits and constraints; the message says which of them excludes how much.
    """
    from objectives.costs import stored_bytes

    space = foresight.space
    corners, drawn = _candidates(space)
    known = [(candidate, foresight.of(candidate)) for candidate in (*corners, *drawn)]
    feasible = [(candidate, answer.spec) for candidate, answer in known[len(corners) :] if not answer.reasons]
    if not any(not answer.reasons for _, answer in known):
        raise UserError(_nothing_fits(foresight, [answer for _, answer in known]))
    by_size = sorted(known, key=lambda pair: stored_bytes(pair[1].spec))
    return Survey(
        smallest=by_size[0],
        largest=by_size[-1],
        feasible_share=len(feasible) / len(drawn),
        knobs=len(space.knobs),
        typical=tuple(feasible or ((candidate, answer.spec) for candidate, answer in known if not answer.reasons)),
    )


def telling_late(space: Space) -> list[str]:
    """Stages of whose end a share of the training says little, where weak trials are stopped by it."""
    recipes = (space.fill(candidate) for candidate in space.corners()) if space.halving is not None else ()
    stages = (each for recipe in recipes for each in zip(recipe.names(), recipe.stages, strict=True))
    return list(dict.fromkeys(name for name, stage in stages if not stage.tells_early))


def _candidates(space: Space) -> tuple[list[Candidate], list[Candidate]]:
    """The corners of a space, and candidates drawn at random: the same at every call."""
    generator = random.Random(0)
    drawn = [space.random_candidate(generator) for _ in range(_RANDOM_CANDIDATES if space.knobs else 1)]
    return list(space.corners()), drawn


def _nothing_fits(foresight: Foresight, known: list[Known]) -> str:
    counts = Counter(_cause(reason) for answer in known for reason in answer.reasons)
    lines = []
    for cause, count in counts.most_common():
        share = f"excludes {'all' if count == len(known) else count} of {len(known)}"
        if cause in foresight.limits:
            least = min(answer.costs[cause] for answer in known)
            whose = "it is" if cause in foresight.space.limits else "it is the teacher's,"
            lines.append(
                f"  the limit on {cause} {share}: {whose} {foresight.limits[cause]:.4g}, the least {least:.4g}"
            )
        else:
            lines.append(f"  {cause} {share}")
    advice = "Loosen what excludes most, or leave more of the recipe open."
    return "\n".join(["no candidate of this space meets its limits and constraints:", *lines, advice])


def _cause(reason: str) -> str:
    """The constraint in a reason, or the objective whose limit it is about."""
    return reason.removeprefix("breaks ") if reason.startswith("breaks ") else reason.split(" ", 1)[0]


def check_cache() -> None:
    """The cache can be written.

    Raises:
        UserError: when it cannot.
    """
    from trainers.cache import Cache

    Cache.default().check()


def check_cores(space: Space, *, address: str | None) -> None:
    """Enough cores for one trial, unless a cluster provides them.

    Raises:
        UserError: when this machine has fewer than a trial asks for.
    """
    import os

    cores = os.cpu_count() or 1
    if not address and space.resources.cpu > cores:
        raise UserError(
            f"resources.cpu: a trial asks for {space.resources.cpu} cores, this machine has {cores}. Ask for fewer."
        )


def check_gpus(space: Space, *, address: str | None) -> None:
    """Enough GPUs for one trial; where a cluster provides them, one for the teacher, whose times are measured here.

    Raises:
        UserError: when this machine has fewer than that.
    """
    import torch

    if address and space.resources.gpu and not torch.cuda.is_available():
        raise UserError(
            f"resources.gpu: trials ask for {space.resources.gpu:g} GPU each, and this machine has none. The teacher "
            "is trained and timed here: run this on a machine of the cluster with the workers' kind of GPU."
        )
    if not address and space.resources.gpu > torch.cuda.device_count():
        raise UserError(
            f"resources.gpu: a trial asks for {space.resources.gpu:g} GPU, "
            f"this machine has {torch.cuda.device_count()}. "
            "Set `resources: {gpu: 0}` to run on the CPU, or give a cluster with --address."
        )


def check_disk(folder: Path, survey: Survey, *, trials: int) -> None:
    """Room for the models of all trials.

    Raises:
        UserError: when there is less.
    """
    from objectives.costs import stored_bytes

    needed = trials * stored_bytes(survey.largest[1].spec) + _SPARE_BYTES
    free = shutil.disk_usage(_existing(folder)).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e6:.0f} MB free, the study may need {needed / 1e6:.0f} MB. "
            "Free some space, or run it from another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write into {folder} ({error.strerror}). "
            f"Run this from a folder in which {folder.parent} can be made."
        ) from None


def check_runs(spec: ArchSpec, *, device: torch.device) -> None:
    """Build the model with random weights, compare it with its spec and run one denoising step.

    A large one is only followed through its shapes: neither its weights nor its arithmetic are worth the time here.

    Raises:
        UserError: when it cannot be built or run as the spec says.
    """
    import torch

    from objectives.costs import macs, parameters
    from trainers.models.building import empty
    from trainers.models.tracing import example_inputs

    net = empty(spec).eval()
    built = sum(parameter.numel() for parameter in net.parameters())
    stored = sum(_coded_weights(module) for module in net.modules())
    if built + stored != parameters(spec):
        raise UserError(f"the model has {built + stored} parameters, its architecture says {parameters(spec)}.")
    shape = (1, spec.image_channels, spec.image_size, spec.image_size)
    if macs(spec) > _LARGE_MACS:
        with torch.no_grad():
            found = spec.network.call(net, *example_inputs(spec.network)).shape
    else:
        found = _drawn(spec, net.to_empty(device=device), shape, device=device).shape
    if found != shape:
        raise UserError(f"the model draws {tuple(found)}, expected {shape}.")


def _drawn(spec: ArchSpec, net: torch.nn.Module, shape: tuple[int, ...], *, device: torch.device) -> torch.Tensor:
    import torch

    from trainers.models.diffusion_model import DiffusionModel
    from trainers.models.sampling import draw

    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_(std=0.02)
        else:
            tensor.zero_()
    label_B = torch.zeros(1, dtype=torch.long, device=device) if spec.network.classes else None
    model = DiffusionModel(net=net, spec=spec.with_sampling_steps(1))
    return draw(model, torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device), label_B)


def check_same_space(folder: Path, space: Space) -> None:
    """A study of this name must hold this space.

    Raises:
        UserError: showing the difference and the ways out.
    """
    from search.space import differences

    refuse_links_out(folder)
    stored = folder / "space.yaml"
    if not stored.is_file():
        return
    found = differences(read_text(stored), space.effective_text)
    if not found:
        return
    lines = "\n".join(f"  {line}" for line in found)
    raise UserError(
        f"{folder} holds a study of another space:\n{lines}\n"
        f"Give this one another name (--name), put the space back as it was, or move {folder} away."
    )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent if folder.parent != folder else Path.cwd()
    return folder


def _coded_weights(module: torch.nn.Module) -> int:
    import torch

    from trainers.models.quantized import QuantizedWeight

    return torch.Size(module.shape).numel() if isinstance(module, QuantizedWeight) else 0
