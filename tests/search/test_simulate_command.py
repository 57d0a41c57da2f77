"""A kept study simulated: what stands in for training meets the study's table, and what is told of it is true."""

from __future__ import annotations

import json
import math
import random
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.known import Foresight
from search.preparation import planned_teacher
from search.samplers._gaussian_process import GaussianProcess
from search.simulate import main
from search.simulation.contest import Contest, Course, Spread, Standing, hold
from search.simulation.entrant import entrants, names_in, own_entrant
from search.simulation.fit import Fit, Seen
from search.simulation.from_study import stand_in
from search.simulation.page import page
from search.simulation.stand_in import StandIn
from search.simulation.wording import answer, check, count, row
from search.space import Space
from search.views import StudyViews
from tests.devices import ONE_CORE
from trainers.cache import Cache
from trainers.errors import UserError

SPACE = """\
name: kept
teacher: {network: {unet: {channels: [8, 16], norm_groups: 4}}}
recipe:
  - prune:
      criterion: {choice: [{diff_pruning: {threshold: {float: [0.0, 0.1]}}}, magnitude]}
      ratio: {mid: {float: [0.0, 0.8]}, up_0: {float: [0.0, 0.6]}}
  - quantize: {bits: {choice: [32, 8, 4]}}
objectives: [{fid: {extractor: labels}}, size_mb, latency_ms]
constraints: ["prune.ratio.mid >= prune.ratio.up_0"]
budget: {trials: 30, images: {min: 300, max: 900}}
sampler: {random: {seed: 0}}
"""
OBJECTIVES = [
    {"name": "fid", "goal": "min", "learned": True},
    {"name": "size_mb", "goal": "min", "unit": "MB"},
    {"name": "latency_ms", "goal": "min", "unit": "ms"},
]
LIMITS = {"fid": 60.0, "size_mb": 0.12}
"""Latency is limited by what the slowest trial takes, whatever machine this runs on."""
SLOWER = 3.0
"""How many times as long everything takes on the device of the study as on this one."""
SECONDS = 20.0
NOISE = 0.05


def true_fid(candidate: dict[str, Any]) -> float:
    bits = {32: 1.0, 8: 1.1, 4: 1.6}[candidate["quantize.bits"]]
    ratio = candidate["prune.ratio.mid"] + 2 * candidate["prune.ratio.up_0"]
    return 15 * bits * math.exp(0.8 * ratio) * (1.3 if candidate["prune.criterion"] == "magnitude" else 1.0)


Kept = Callable[..., StudyViews]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, cache: Cache) -> Iterator[Kept]:
    """Makes a study of random trials whose FID after a third of the images is twice the final one."""

    def build(trials: int = 30, *, rungs: bool = True) -> StudyViews:
        folder = tmp_path_factory.mktemp("kept")
        (folder / "space.yaml").write_text(SPACE)
        space = Space.read(folder / "space.yaml")
        foresight = Foresight(space, planned_teacher(space), ONE_CORE, {})
        generator = random.Random(3)
        lines: list[dict[str, Any]] = []
        while len(lines) < trials:
            candidate = space.random_candidate(generator)
            known = foresight.of(candidate)
            if known.reasons:
                continue
            fid = true_fid(candidate) * math.exp(NOISE * generator.gauss(0, 1))
            line = {
                "number": len(lines),
                "state": "complete",
                "candidate": candidate,
                "values": {"fid": fid, **known.costs, "latency_ms": SLOWER * known.costs["latency_ms"]},
                "seconds": SECONDS * math.exp(0.1 * generator.gauss(0, 1)),
                "images": 900,
                "rungs": [{"images": 300, "values": {"fid": 2 * fid * math.exp(0.1 * generator.gauss(0, 1))}}],
            }
            lines.append(line if rungs else {**line, "rungs": []})
        limits = {**LIMITS, "latency_ms": 1.5 * max(line["values"]["latency_ms"] for line in lines)}
        write_front(folder, limits=limits)
        (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return StudyViews.open(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIMFRONT_CACHE", str(cache.folder))
        patch.setattr("objectives.device_model.calibrated", lambda *about, **options: ONE_CORE)
        yield build


def write_front(folder: Path, **changes: Any) -> None:
    front = {"study": "kept", "objectives": OBJECTIVES, "seconds": 200.0, **changes}
    (folder / "front.json").write_text(json.dumps(front))


@pytest.fixture(scope="module")
def stands(kept: Kept) -> StandIn:
    return stand_in(kept())


def candidates(stands: StandIn, number: int = 60) -> list[dict[str, Any]]:
    generator = random.Random(7)
    found = [stands.space.random_candidate(generator) for _ in range(4 * number)]
    return [each for each in found if stands.costs.unlimited(each) is not None][:number]


# The table as a function


def test_the_fit_says_how_far_off_it_is_on_what_it_has_not_seen(stands: StandIn) -> None:
    fit = stands.learned["fid"]
    off = [math.log(true_fid(each)) - fit.expected(each) for each in candidates(stands)]
    assert fit.trials == 30 and 0.9 < fit.r2 < 1
    assert np.std(off) < 2 * fit.spread < 0.4 and 0.02 < fit.noise < 0.1


def test_knobs_that_say_nothing_are_found_out(stands: StandIn) -> None:
    generator = np.random.default_rng(2)
    values = np.exp(generator.normal(3, 0.5, 30))
    seen = [
        Seen(trial=index, candidate=each, value=value)
        for index, (each, value) in enumerate(zip(candidates(stands, 30), values, strict=True))
    ]
    fit = Fit.of(stands.knobs, seen, is_log=True)
    assert fit.r2 <= 0 and fit.process is None
    assert fit.expected(seen[0].candidate) == pytest.approx(np.log(values).mean())
    assert fit.spread == fit.noise == pytest.approx(np.log(values).std())


def test_a_fit_that_only_expects_expects_the_same_with_a_twentieth_of_the_fits(
    stands: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [
        Seen(trial=index, candidate=each, value=true_fid(each)) for index, each in enumerate(candidates(stands, 30))
    ]
    whole = Fit.of(stands.knobs, seen, is_log=True)
    fitted: list[int] = []
    plain = GaussianProcess.fitted

    def counted(features: Any, values: Any, **options: Any) -> GaussianProcess:
        fitted.append(len(values))
        return plain(features, values, **options)

    monkeypatch.setattr(GaussianProcess, "fitted", counted)
    quick = Fit.expecting(stands.knobs, seen, is_log=True)
    assert fitted == [30]
    asked = [each.candidate for each in seen[:5]]
    assert [quick.expected(each) for each in asked] == [whole.expected(each) for each in asked]
    assert quick.noise == whole.noise and 0.9 < whole.r2 <= quick.r2 < 1


def test_a_candidate_has_the_same_luck_again_and_noise_is_as_large_as_found(stands: StandIn) -> None:
    tried = candidates(stands)
    one, other = stands.trained(seed=0), stands.trained(seed=1)
    assert [one(each, 1.0) for each in tried] == [one(dict(reversed(each.items())), 1.0) for each in tried]
    luck = [math.log(one(each, 1.0)["fid"]) - stands.learned["fid"].expected(each) for each in tried]
    assert np.std(luck) == pytest.approx(stands.learned["fid"].noise, rel=0.3)
    assert abs(np.corrcoef(luck, [math.log(other(each, 1.0)["fid"]) for each in tried])[0, 1]) < 0.4


def test_a_small_share_is_off_as_the_study_measured(stands: StandIn) -> None:
    evaluate = stands.trained(seed=0)
    ratios = [math.log(evaluate(each, 1 / 3)["fid"] / evaluate(each, 1.0)["fid"]) for each in candidates(stands)]
    assert stands.shares == (pytest.approx(1 / 3), 1.0)
    assert np.mean(ratios) == pytest.approx(math.log(2), abs=0.06) and 0.05 < np.std(ratios) < 0.2


def test_costs_are_exact_and_limits_and_constraints_hold(stands: StandIn) -> None:
    limits = stands.views.front.limits
    tried = candidates(stands)
    assert 10 < sum(stands.known(each) is None for each in tried) < 50
    for each in tried:
        known, unlimited = stands.known(each), stands.costs.foresight.of(each).costs
        size, latency = unlimited["size_mb"], SLOWER * unlimited["latency_ms"]
        # Latency is predicted, and a study trains what is predicted to be somewhat beyond the limit.
        is_within = size <= limits["size_mb"] and latency <= 1.3 * limits["latency_ms"]
        assert (known is not None) == is_within
        if known is not None:
            assert known["size_mb"] == size and known["latency_ms"] == pytest.approx(latency)
    broken = {"prune.criterion": "magnitude", "prune.ratio.mid": 0.1, "prune.ratio.up_0": 0.5, "quantize.bits": 4}
    assert stands.known(broken) is None and stands.guessed(broken) is None


def test_the_fast_costs_are_as_near_as_is_said(stands: StandIn) -> None:
    assert stands.sketch is not None and stands.sketch.error < 0.1
    tried = [(stands.guessed(each), stands.known(each)) for each in candidates(stands)]
    off = [abs(math.log(guess["size_mb"] / known["size_mb"])) for guess, known in tried if guess and known]
    assert len(off) > 20 and np.median(off) < 2 * stands.sketch.error
    # As a sampler answers before it knows which knobs exist together.
    every = {**candidates(stands)[0], "prune.criterion": "magnitude", "prune.criterion.diff_pruning.threshold": 0.05}
    active = {name: value for name, value in every.items() if not name.endswith("threshold")}
    assert stands.guessed(every) == stands.guessed(active)


def test_the_study_is_measured_as_its_front_is(stands: StandIn) -> None:
    from search.front import hypervolume

    limits = stands.views.front.limits
    values = [[trial.value(name) / limit for name, limit in limits.items()] for trial in stands.views.complete]
    assert stands.own_volume == pytest.approx(hypervolume(values, [1.0] * 3)) and stands.own_volume > 0.05
    # 30 trials of 20 s in 200 s.
    assert stands.workers == 3 and stands.own_trainings == 30


# Searches


def test_a_course_tells_when_it_came_how_far() -> None:
    course = Course(spent=[1.0, 2.0, 3.5], seconds=[10.0, 10.0, 30.0], volumes=[0.0, 0.2, 0.5])
    assert [course.volume_at(spent) for spent in (0.5, 1.0, 2.9, 3.5, 9.0)] == [0.0, 0.0, 0.2, 0.5, 0.5]
    assert [course.trainings_to(volume) for volume in (0.1, 0.2, 0.3, 0.6)] == [2.0, 2.0, 3.5, math.inf]
    assert course.seconds_to(0.5) == 30.0 and course.seconds_to(0.51) == math.inf
    assert Spread.of([3.0, math.inf, 1.0]) == Spread(median=3.0, low=1.0, high=math.inf)
    assert [count(value, 60) for value in (12.0, 12.3, math.inf)] == ["12", "13", ">60"]


def contest(
    stands: StandIn, samplers: str = "random", *, trainings: int = 30, seeds: int = 2, told: Any = None
) -> Contest:
    return hold(
        stands,
        entrants(names_in(samplers), stands.space, stands.shares),
        own_entrant(stands.views, stands.space, stands.shares),
        workers=3,
        trainings=trainings,
        seeds=seeds,
        advance=told.append if told is not None else lambda done: None,
    )


def test_time_follows_from_trainings_and_workers(stands: StandIn) -> None:
    done: list[float] = []
    held = contest(stands, trainings=90, told=done)
    (standing,) = held.standings
    assert done == sorted(done) and 0 < done[0] < 0.2 and done[-1] == pytest.approx(1)
    for course in standing.courses:
        assert course.spent == list(range(1, 91)) and course.volumes == sorted(course.volumes)
        assert course.seconds[-1] == pytest.approx(90 * SECONDS / 3, rel=0.1)
    times = [Spread.of(seconds).median for seconds in standing.seconds.values()]
    assert list(standing.seconds) == [1, 3, 4, 16, 64] and times == sorted(times, reverse=True)
    assert times[0] > 2.5 * times[1] and times[-1] < 3 * SECONDS


def test_the_study_simulated_as_it_was_run_comes_as_far(stands: StandIn) -> None:
    held = contest(stands)
    assert held.own.name == "random"
    assert all(course.spent == list(range(1, 31)) for course in held.again)
    assert Spread.of(course.volumes[-1] for course in held.again).median == pytest.approx(stands.own_volume, rel=0.25)
    assert Spread.of(course.seconds[-1] for course in held.again).median == pytest.approx(200, rel=0.15)
    assert check(held).endswith("in 3 min 20 s.") and "random, 3 workers, 30 full trainings" in check(held)


def test_the_same_comparison_again_gives_the_same(stands: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.simulation.contest.OFTEN_ASKED", (1,))
    one, other = (contest(stands, "budget_ei+halving", trainings=9, seeds=1) for _ in range(2))
    assert one.standings == other.standings
    (course,) = one.standings[0].courses
    # Parts of a training are paid for, so that full ones end at more than whole numbers.
    assert 0 < len(course.spent) < 9 and any(spent != round(spent) for spent in course.spent)


def test_the_process_beats_chance_and_is_named(stands: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.simulation.contest.OFTEN_ASKED", (1,))
    held = contest(stands, "random,budget_ei", trainings=20, seeds=1)
    assert [standing.entrant.name for standing in held.standings] == ["random", "budget_ei+halving", "budget_ei"]
    at_random, halved, whole = (standing.volume_at(20).median for standing in held.standings)
    assert whole > 1.05 * at_random and max(halved, whole) == held.highest
    assert held.winner.entrant.name in answer(held) and "budget_ei" in answer(held)


def test_what_is_not_reached_is_said(stands: StandIn) -> None:
    held = contest(stands, seeds=1)
    never = Course(spent=[30.0], seconds=[200.0], volumes=[0.0])
    entrant = held.standings[0].entrant
    standing = Standing(entrant=entrant, courses=[never], seconds={3: [math.inf]})
    assert row(held, standing) == ["random", "0.00", ">30", ">30", "not reached"]
    assert "though none of them comes that far" in answer(replace(held, standings=[standing, replace(standing)]))
    soon = replace(standing, courses=[replace(never, volumes=[1e9])])
    assert "though none" not in answer(replace(held, standings=[standing, soon]))


def test_the_page_opens_offline_and_has_titles_and_units(stands: StandIn) -> None:
    text = page(contest(stands, trainings=90, seeds=1))
    own = text[: text.index("<script>")]
    assert "Full trainings spent" in own and "Workers" in own
    assert re.search(r"Time to the study's front \[(s|min|h)\]", own)
    assert "Nothing was trained" in own and "http" not in own.replace("http-equiv", "")
    start = own.index('id="figures">') + len('id="figures">')
    first, second = json.loads(own[start : own.index("</script>", start)])["figures"]
    assert first["data"][2]["x"] == list(range(91)) and second["data"][2]["x"] == [1, 3, 4, 16, 64]
    assert all(trace["meta"] in ("line0", "chosen") for trace in first["data"])


def test_time_to_what_is_not_reached_is_no_figure(stands: StandIn) -> None:
    held = contest(stands, seeds=1)
    assert all(math.isinf(seconds) for (seconds,) in held.standings[0].seconds.values())
    text = page(held)
    assert text.count('class="panel"') == 1 and "Time to the study's front" not in text


# The command


def test_the_command_answers(kept: Kept, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    views = kept()
    options: dict[str, Any] = {"workers": 8, "trials": 12, "samplers": "random,nsga2", "seeds": 1}
    assert main(views.folder, **options, json=True, out=tmp_path / "deep" / "page.html") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["workers"], told["trainings"], told["best"]) == (8, 12, told["samplers"][0]["sampler"])
    assert {entry["sampler"] for entry in told["samplers"]} == {"random", "nsga2"}
    assert told["model"]["fid"]["trainings"] == 30 and 0.9 < told["model"]["fid"]["r2"] < 1
    assert told["answer"].startswith("With 8 workers, ") and (tmp_path / "deep" / "page.html").is_file()
    assert main(views.folder, **options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert told["answer"] in shown and (views.folder / "simulation.html").is_file()
    assert "a model fitted to the study's 30 full trainings" in shown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"workers": 0}, "--workers must be at least 1, got 0"),
        ({"trials": 0}, "--trials must be at least 1, got 0"),
        ({"workers": 10**9}, "--workers must be at most 100,000, got 1000000000"),
        ({"trials": 10_001}, "--trials must be at most 10,000, got 10001"),
        ({"seeds": 1_001}, "--seeds must be at most 1,000, got 1001"),
        ({"samplers": "tpe,budgetei"}, "unknown sampler 'budgetei'. Did you mean 'budget_ei'?"),
        ({"samplers": ","}, "unknown sampler ''. Allowed: budget_ei, gp"),
        ({"samplers": "tpe+halving"}, "needs trials that were measured on the way"),
    ],
)
def test_bad_input_is_refused(kept: Kept, options: dict[str, Any], expected: str) -> None:
    views = kept(9, rungs=False)
    with pytest.raises(UserError, match="(?s)" + expected.replace("+", r"\+").replace("?", r"\?")):
        main(views.folder, **options)


def test_a_study_that_says_too_little_is_refused(kept: Kept) -> None:
    folder = kept(7).folder
    with pytest.raises(UserError, match="7 trials are complete, and a model of the study needs at least 8") as raised:
        main(folder)
    assert shlex.join(["search.run", f"{folder}/space.yaml", "--name", folder.name]) in str(raised.value)
    views = kept(8)
    write_front(views.folder)
    with pytest.raises(UserError, match="no objective has a limit"):
        main(views.folder)
    write_front(views.folder, limits={"size_mb": 1e-6})
    with pytest.raises(UserError, match="no trial is within its limits on what is known before training"):
        main(views.folder)


def test_stopped_trials_count_at_their_share(kept: Kept) -> None:
    views = kept(20)
    lines = [json.loads(line) for line in (views.folder / "trials.jsonl").read_text().splitlines()]
    for line in lines[10:]:
        short = line["rungs"][0]["values"]
        line |= {"state": "stopped", "images": 300, "values": short, "reason": "stopped for now"}
    (views.folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stands = stand_in(StudyViews.open(views.folder))
    assert stands.own_trainings == pytest.approx(10 + 10 / 3)
    assert stands.learned["fid"].trials == 10 and stands.changes["fid", 1 / 3].trials == 20
    assert own_entrant(stands.views, stands.space, stands.shares).name == "random+halving"
    tried = candidates(stands)
    off = [stands.learned["fid"].expected(each) - math.log(true_fid(each)) for each in tried]
    alone = stand_in(kept(10, rungs=False)).learned["fid"]
    off_alone = [alone.expected(each) - math.log(true_fid(each)) for each in tried]
    # Short trainings of other candidates tell of the full ones.
    assert np.std(off) < np.std(off_alone)
