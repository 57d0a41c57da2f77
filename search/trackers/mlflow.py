"""MLflow: a run for each trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from search.trackers.tracker import TRACKERS, Log, Told, Tracker

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@TRACKERS.register("mlflow")
@dataclass(frozen=True, kw_only=True)
class Mlflow(Tracker):
    """A run for each trial, in an experiment with the study's name.

    Args:
        uri: Of the tracking server or store; MLflow's own setting (``MLFLOW_TRACKING_URI``) when left out.
    """

    package: ClassVar[str] = "mlflow"

    uri: str | None = None

    @contextmanager
    def log(self, study: str, folder: Path) -> Iterator[Log]:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(study)
        yield _Runs(client, known.experiment_id if known else client.create_experiment(study))


class _Runs:
    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self._client = client
        self._experiment = experiment

    def tell(self, told: Told) -> None:
        run = self._known(told) or self._client.create_run(
            self._experiment, run_name=told.name, tags={"trial": str(told.trial)}
        )
        number = run.info.run_id
        for path, value in told.knobs.items():
            self._client.log_param(number, path, value)
        for name, value in told.values.items():
            self._client.log_metric(number, name, value)
        if told.strip is not None:
            self._client.log_artifact(number, str(told.strip))
        self._client.set_tag(number, "state", told.state)
        self._client.set_terminated(number, "FAILED" if told.state == "failed" else "FINISHED")

    def _known(self, told: Told):  # type: ignore[no-untyped-def]  # a class of MLflow
        """The run of a trial that is measured again; that of an earlier study of this name had other knobs."""
        knobs = {path: str(value) for path, value in told.knobs.items()}
        found = self._client.search_runs([self._experiment], f"tags.trial = '{told.trial}'")
        return next((run for run in found if run.data.params.items() <= knobs.items()), None)
