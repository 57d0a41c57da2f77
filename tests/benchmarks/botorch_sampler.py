"""BoTorch's qLogNEHVI (Ament et al. 2023) as an Optuna sampler, through Optuna's own bridge, for reference.

Neither is a dependency of the project: ``pip install botorch optuna-integration``.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import torch
from optuna.samplers import BaseSampler
from torch import Tensor

IS_INSTALLED = all(find_spec(name) for name in ("botorch", "optuna_integration"))
_DRAWS = 128
_RESTARTS, _RAW = 4, 256
"""Fewer than the bridge's 20 and 1,024, which take a minute for each suggestion of a study of four objectives."""


def qlognehvi(seed: int) -> BaseSampler:
    """The sampler; constraints are those that a study's trials carry, and running trials are pending."""
    from optuna_integration import BoTorchSampler

    warnings.simplefilter("ignore")
    return BoTorchSampler(candidates_func=_candidate, n_startup_trials=10, consider_running_trials=True, seed=seed)


def _candidate(
    train_x: Tensor, train_obj: Tensor, train_con: Tensor | None, bounds: Tensor, pending_x: Tensor | None
) -> Tensor:
    """As the bridge's own functions: everything is maximised, a constraint is met where it is at most 0."""
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.models.transforms.outcome import Standardize
    from botorch.optim import optimize_acqf
    from botorch.sampling.normal import SobolQMCNormalSampler
    from botorch.utils.transforms import normalize, unnormalize
    from gpytorch.mlls import SumMarginalLogLikelihood

    objectives = train_obj.shape[-1]
    train_y = train_obj if train_con is None else torch.cat([train_obj, train_con], dim=-1)
    unit_x = normalize(train_x, bounds=bounds)
    model = ModelListGP(*(SingleTaskGP(unit_x, each[:, None], outcome_transform=Standardize(1)) for each in train_y.T))
    fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
    acquisition = qLogNoisyExpectedHypervolumeImprovement(
        model=model,
        ref_point=(train_obj.min(dim=0).values - 1e-8).tolist(),
        X_baseline=unit_x,
        X_pending=None if pending_x is None else normalize(pending_x, bounds=bounds),
        sampler=SobolQMCNormalSampler(torch.Size([_DRAWS])),
        objective=IdentityMCMultiOutputObjective(outcomes=list(range(objectives))),
        constraints=[lambda y, place=place: y[..., place] for place in range(objectives, train_y.shape[-1])] or None,
        prune_baseline=True,
    )
    unit = torch.tensor([[0.0], [1.0]], dtype=bounds.dtype).expand_as(bounds).contiguous()
    found, _ = optimize_acqf(
        acquisition, bounds=unit, q=1, num_restarts=_RESTARTS, raw_samples=_RAW, options={"maxiter": 100}
    )
    return unnormalize(found.detach(), bounds=bounds)
