"""What is analysed: a model, with the data and the FID that it is measured by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from objectives.fid import Fid
from objectives.objective import OBJECTIVES, Objective
from search._yaml import plain, read_yaml
from search.evaluate import Workshop
from search.preparation import load_images, pick_device, planned_teacher, teacher_run
from search.space import Space
from search.space_error import Mistakes
from search.teacher_progress import TeacherProgress
from trainers.cache import Cache
from trainers.data.dataset import DATA, Dataset
from trainers.errors import UserError
from trainers.foreign import place_of
from trainers.job import FILE as RECIPE_FILE
from trainers.job import Job
from trainers.models import files
from trainers.models.input_images import images_for
from trainers.registry import Registry
from trainers.teacher import Teacher

if TYPE_CHECKING:
    from rich.console import Console

    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_SPACE_FILE = "space.yaml"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to analyse, found but not loaded yet.

    Args:
        path: As given.
        space: The space that it belongs to: its own file, its study's, or None.
        weights: Folder or file of the model; None for the teacher of ``space``, which may have to be trained.
        data: None when nothing says it.
        fid: How it is measured.
    """

    path: Path
    space: Space | None
    weights: Path | None
    data: Dataset | None
    fid: Fid

    @classmethod
    def find(cls, path: Path) -> Subject:
        """The subject at ``path``: a space, a study (its teacher), an exported folder, or a folder or file of a model.

        Raises:
            UserError: when it is none of them, or what lies beside it cannot be read.
        """
        if path.suffix in (".yaml", ".yml"):
            return cls._of_space(path, Space.read(path), None)
        path = place_of(path)
        if (path / _SPACE_FILE).is_file():
            teacher = path / "teacher"
            has_teacher = (teacher / files.FILE).is_file()
            return cls._of_space(path, Space.read(path / _SPACE_FILE), teacher if has_teacher else None)
        if not path.exists():
            raise UserError(
                f"{path} does not exist. Give a space (.yaml), the folder of a study, one that `search.export` wrote, "
                "or the folder of a model."
            )
        return cls._of_model(path)

    @classmethod
    def _of_space(cls, path: Path, space: Space, weights: Path | None) -> Subject:
        return cls(path=path, space=space, weights=weights, data=space.data, fid=_fid_among(space.objectives))

    @classmethod
    def _of_model(cls, path: Path) -> Subject:
        home = _home(path if path.is_dir() else path.parent)
        if (home / _SPACE_FILE).is_file():
            return cls._of_space(path, Space.read(home / _SPACE_FILE), path)
        if (home / RECIPE_FILE).is_file():
            job = Job.read(home)
            try:
                fid = _fid_among(OBJECTIVES.parse(written) for written in job.objectives)
            except ValidationError as error:
                raise UserError(f"{home / RECIPE_FILE}: {error.errors()[0]['msg']} Export the trial again.") from None
            return cls(path=path, space=None, weights=path, data=job.data, fid=fid)
        return cls(path=path, space=None, weights=path, data=None, fid=Fid())

    def with_data(self, text: str) -> Subject:
        """The subject with the data set that ``text`` names, where nothing else says it.

        Raises:
            UserError: when something does, or this is no data set.
        """
        if self.data is not None:
            raise UserError(
                f"--data {text}: {self.path} says itself which data it belongs to: {DATA.written(self.data)}. "
                "Leave --data out."
            )
        return replace(self, data=parsed(DATA, text, "--data"))

    @property
    def name(self) -> str:
        """Of the model, in titles."""
        if self.weights is None or self.weights != self.path:
            assert self.space is not None
            return f"the teacher of {self.space.name}"
        return self.path.resolve().name if self.path.is_dir() else self.path.stem

    def page(self, what: str) -> Path:
        """Where the page of an analysis goes when nobody says where: beside the model, or here for a space."""
        if self.path.is_dir():
            return self.path / f"{what}.html"
        return Path(f"{self.space.name if self.space else self.path.stem}-{what}.html")

    def fid_of(self, samples: int | None) -> Fid:
        """How it is measured, with another number of images where one is given."""
        return self.fid if samples is None else replace(self.fid, samples=samples)

    def planned_spec(self) -> ArchSpec:
        """The architecture, before anything is trained."""
        if self.weights is not None:
            return _loaded(self.weights).spec
        assert self.space is not None
        return planned_teacher(self.space)

    def model(self, console: Console) -> DiffusionModel:
        """The model alone; a teacher that is not in the cache is trained, which ``console`` shows."""
        if self.weights is not None:
            return _loaded(self.weights)
        assert self.space is not None
        return _teacher(self.space, load_images(self.space, planned_teacher(self.space)), console)

    def run(self, console: Console) -> Run:
        """A run in which the model, as the teacher, is measured.

        Raises:
            UserError: when nothing says which data it belongs to, or it cannot be had.
        """
        cache = Cache.default()
        cache.check()
        if self.data is None:
            raise UserError(
                f"{self.path} does not say which data it belongs to, as it has no {RECIPE_FILE}. "
                "Name it: --data digits, or as a space writes it: --data '{folder: {path: ...}}'."
            )
        if self.weights is None:
            assert self.space is not None
            images = load_images(self.space, planned_teacher(self.space))
            # Before the teacher, whose training would be in vain where an objective lacks something.
            self.fid.prepare(images, cache)
            model = _teacher(self.space, images, console)
        else:
            model = _loaded(self.weights)
            images = images_for(self.data, model.spec)
            self.fid.prepare(images, cache)
        device = self.device()
        return teacher_run(Workshop(model.to(device), images, (self.fid,), cache, device))

    @contextmanager
    def threads(self) -> Iterator[None]:
        """As many threads inside as a trial of its space has, so that times are those of the study."""
        usual = torch.get_num_threads()
        if self.space is not None:
            torch.set_num_threads(self.space.resources.cpu)
        try:
            yield
        finally:
            torch.set_num_threads(usual)

    def device(self) -> torch.device:
        """Where it is measured: as in its space, or on a GPU that is there."""
        if self.space is not None:
            return pick_device(self.space)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def parsed(registry: Registry[Any], text: str, option: str) -> Any:
    """The piece that ``text`` writes as YAML: a name, or a name with options.

    Raises:
        UserError: when it does not.
    """
    mistakes = Mistakes()
    node = read_yaml(text, mistakes=mistakes)
    mistakes.raise_for(option)
    try:
        return registry.parse(plain(node) if node else None)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"])
        raise UserError(f"{option} {text}: {place + ': ' if place else ''}{found['msg']}") from None


def _home(folder: Path) -> Path:
    """The study or exported folder that a model's folder is part of; the folder itself when there is none."""
    folder = folder.resolve()
    if folder.name == "teacher" and any((folder.parent / name).is_file() for name in (_SPACE_FILE, RECIPE_FILE)):
        return folder.parent
    if folder.parent.name == "trials" and (folder.parents[1] / _SPACE_FILE).is_file():
        return folder.parents[1]
    return folder


def _loaded(path: Path) -> DiffusionModel:
    from trainers.models.published import load_published

    is_ours = path.suffix == ".safetensors" or (path / files.FILE).is_file()
    return files.load(path) if is_ours else load_published(str(path), sampling_steps=Teacher.sampling_steps)


def _teacher(space: Space, images: Images, console: Console) -> DiffusionModel:
    with TeacherProgress(console, space.teacher.images) as progress:
        return space.teacher.obtain(images, cache=Cache.default(), device=pick_device(space), on_progress=progress)


def _fid_among(objectives: Iterable[Objective]) -> Fid:
    return next((objective for objective in objectives if isinstance(objective, Fid)), Fid())
