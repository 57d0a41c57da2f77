"""The report beside optuna-dashboard on the same study: time to the first useful view, and what each of them shows.

Run from the repository, nothing else running::

    python -m tests.benchmarks.explore [STUDY] [--trials 1000] [--repeats 3] [--shots FOLDER]

``STUDY`` is the folder of a finished study with its ``study.db``; a copy of it is used. A second study is made up,
of ``--trials`` trials with pictures and of the same results in an Optuna database. The dashboard is no part
of this project: ``pip install --no-deps --target FOLDER optuna-dashboard bottle`` and ``PYTHONPATH=FOLDER``. Without it
the report alone is timed.

Ready is the report once ``search.explore`` has ended, and the dashboard once its server answers; every search leaves a
report that is ready, which the last line counts. The first useful view of the report is that all figures on the screen
are drawn (``data-opened``), that of the dashboard that its first figure, the Pareto front, has points
(``#graph-pareto-front .scatterlayer .point``). Each repeat starts new processes and a new Chromium with an empty cache,
whose own start does not count, one side after the other.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console
from rich.table import Table

from search._knob_distributions import distribution
from search.report.page import REPORT_FILE
from search.space import Space
from search.views import StudyViews, TrialView
from tests.benchmarks.explore_features import FEATURES
from tests.search.devtools import Browser
from tests.search.study_folder import study_folder

OPENED, DRAWN = (f'document.documentElement?.dataset.{name} === "true"' for name in ("opened", "drawn"))
_HAS_POINTS = 'document.querySelectorAll("#graph-pareto-front .scatterlayer .point").length > 0'
_NO_DASHBOARD = """\
optuna-dashboard is not installed, so the report alone is timed. To have both:
pip install --no-deps --target FOLDER optuna-dashboard bottle, and PYTHONPATH=FOLDER"""
_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
_SETTLED_SECONDS = 5.0
"""For a screenshot only: what comes after the first view."""

# The knobs of ``study_folder``: with a space of its own the made-up study is given all that the report has to say.
SPACE = """\
teacher: {network: {unet: {channels: [16, 32], norm_groups: 4}}}
recipe:
  - prune:
      rule: {choice: [paper, flexible]}
      criterion: {choice: [{diff_pruning: {threshold: {float: [0.0, 0.1]}}}, magnitude]}
      ratio: {down_0: {float: [0.0, 0.6]}, mid: {float: [0.0, 0.8]}, up_0: {float: [0.0, 0.6]}}
  - group: {groups: {choice: [1, 2]}}
  - distil: {sampling_steps: {choice: [8, 16]}}
  - quantize: {bits: {choice: [32, 8, 4]}}
objectives: [{fid: {extractor: labels}}, size_mb, macs_g, latency_ms]
budget: {trials: 24, images: {min: 2_667, max: 24_000}}
"""


class Waited(NamedTuple):
    """Seconds that a user waits until one side is ready, from then to its first view, and for both."""

    ready: float
    opened: float
    both: float


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("study", nargs="?", type=Path, help="folder of a study; only the made-up one when left out")
    asked.add_argument("--trials", type=int, default=1000, help="of the study that is made up")
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--shots", type=Path, help="folder for a screenshot of each page")
    given = asked.parse_args()
    console = Console()
    if not _has_dashboard():
        console.print(_NO_DASHBOARD)
    with tempfile.TemporaryDirectory() as scratch:
        studies = [_copied(given.study, Path(scratch))] if given.study else []
        studies.append(_made_up(Path(scratch) / f"made_up_{given.trials}", trials=given.trials))
        for folder in studies:
            console.print(_timed(folder, repeats=given.repeats))
            if given.shots:
                _photograph(folder, given.shots)
    console.print(_features())


def _timed(folder: Path, *, repeats: int) -> Table:
    """What was measured, one row per step."""
    runs: list[list[Waited]] = []
    for _ in range(repeats):
        runs.append([wait(folder) for wait in (_for_report, _for_dashboard)[: 1 + _has_dashboard()]])
    report, *dashboard = (_medians(of_one) for of_one in zip(*runs, strict=True))
    views = StudyViews.open(folder)
    size_mb = (folder / REPORT_FILE).stat().st_size / 1e6
    title = f"{folder.name}: {len(views.trials)} trials, {len(views.complete)} complete; report of {size_mb:.1f} MB"
    table = Table("seconds, medians", "report", *["dashboard", "times"][: 2 * len(dashboard)], title=title)
    for step, of_report, of_dashboard in (
        ("until ready", "ready", "ready"),
        ("from then to the first view", "opened", "opened"),
        ("both", "both", "both"),
        ("both, beside a report that the search left", "opened", "both"),
    ):
        seconds = getattr(report, of_report), *(getattr(each, of_dashboard) for each in dashboard)
        table.add_row(step, *(f"{each:.2f}" for each in seconds), *(f"{each / seconds[0]:.1f}" for each in seconds[1:]))
    return table


def _medians(runs: Sequence[Waited]) -> Waited:
    return Waited(*(statistics.median(column) for column in zip(*runs, strict=True)))


# The report


def _for_report(folder: Path) -> Waited:
    """Until it is written, and from then until it is drawn."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "search.explore", str(folder)], check=True, stdout=subprocess.DEVNULL)
    ready = time.perf_counter() - begun
    with Browser() as browser:
        opened = browser.seconds_until(OPENED, at=(folder / REPORT_FILE).as_uri())
    return Waited(ready, opened, ready + opened)


# The dashboard


def _has_dashboard() -> bool:
    return importlib.util.find_spec("optuna_dashboard") is not None


def _for_dashboard(folder: Path) -> Waited:
    """Until its server answers, and from then until its first figure has points."""
    begun = time.perf_counter()
    with _served(folder) as address:
        ready = time.perf_counter() - begun
        with Browser() as browser:
            opened = browser.seconds_until(_HAS_POINTS, at=address)
    return Waited(ready, opened, ready + opened)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address of the study's page while the dashboard runs."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "optuna_dashboard._cli", f"--port={port}", _storage(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/dashboard", server)
        yield f"http://127.0.0.1:{port}/dashboard/studies/1"
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except urllib.error.URLError:
            time.sleep(0.01)
    raise RuntimeError(f"optuna-dashboard ended with {server.returncode}. Start it by hand to see why.")


# Studies


def _copied(study: Path, scratch: Path) -> Path:
    """A study's folder that may be written to, its objectives named in the database as those of new studies are."""
    folder = scratch / study.resolve().name
    shutil.copytree(study, folder)
    storage = _storage(folder)
    (name,) = optuna.get_all_study_names(storage)
    _name_objectives(optuna.load_study(study_name=name, storage=storage), folder)
    return folder


def _made_up(folder: Path, *, trials: int) -> Path:
    """A study of made-up results, as view files with pictures and as a database, where what is not complete failed."""
    views = StudyViews.open(study_folder(folder, trials=trials))
    space = folder / "space.yaml"
    space.write_text(SPACE)
    directions = [_DIRECTIONS[each.goal] for each in views.front.objectives]
    study = optuna.create_study(study_name=folder.name, storage=_storage(folder), directions=directions)
    _name_objectives(study, folder)
    distributions = {knob.path: distribution(knob) for knob in Space.read(space).knobs}
    study.add_trials([_stored(trial, views, distributions) for trial in views.trials])
    return folder


def _storage(folder: Path) -> str:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return f"sqlite:///{folder / 'study.db'}"


def _name_objectives(study: optuna.Study, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([each.name for each in StudyViews.open(folder).front.objectives])


def _stored(trial: TrialView, views: StudyViews, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    is_complete = trial.state == "complete"
    return create_trial(
        state=TrialState.COMPLETE if is_complete else TrialState.FAIL,
        values=[trial.value(each.name) for each in views.front.objectives] if is_complete else None,
        params=trial.candidate,
        distributions={knob: distributions[knob] for knob in trial.candidate},
    )


# What was seen


def _photograph(folder: Path, shots: Path) -> None:
    shots.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        browser.seconds_until(DRAWN, at=(folder / REPORT_FILE).as_uri())
        browser.screenshot(shots / f"{folder.name}-report.png")
    if not _has_dashboard():
        return
    with _served(folder) as address, Browser() as browser:
        for page in ("", "/analytics", "/trials"):
            browser.seconds_until('document.readyState === "complete"', at=address + page)
            time.sleep(_SETTLED_SECONDS)
            browser.screenshot(shots / f"{folder.name}-dashboard{page.replace('/', '-')}.png")


def _features() -> Table:
    table = Table("", "report", "optuna-dashboard 0.21.0", title="What each shows", show_lines=True)
    for feature in FEATURES:
        table.add_row(*feature)
    return table


if __name__ == "__main__":
    main()
