"""A study in which every text is an attack: pages show the texts, and nothing in them runs, leads away or is styled."""

import json
import shutil
from dataclasses import replace
from itertools import cycle, pairwise

import pytest

from objectives.objective import Measurement
from search.analysis.page import page as analysis_page
from search.analysis.pruned_blocks import Point
from search.analysis.sensitivity import Sensitivity
from search.analysis.timesteps import Kept, Timesteps
from search.analysis.weight_variation import Step, WeightVariation
from search.best import best
from search.contrast.contrast import Contrast
from search.contrast.page import page as contrast_page
from search.report.answer import show
from search.report.overlay import write_overlay
from search.report.page import page
from search.simulation.page import page as simulation_page
from search.views import StudyViews
from tests.search.browser import Elements, drive, needs_chromium
from tests.search.study_folder import study_folder
from tests.search.test_simulate_command import contest, kept, stands

__all__ = ["kept", "stands"]
ATTACKS = (
    "<script>window.hit=1</script>",
    "</script><script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "<!--<script>",
    '"><svg onload=window.hit=1>',
    "' onmouseover='window.hit=1",
    '<a href="javascript:window.hit=1">click</a>',
    "javascript:window.hit=1",
    "}</style><style>*{display:none}",
    "%{x}<extra></extra><b>bold</b>",
    "${window.hit=1}{{7*7}}",
    "\u2028window.hit=1\u2029",
    "\u202e\x1b[2J\x00 ok",
    "[/bold][link=http://x]rich[/link]",
)
KEPT = {"state", "goal", "path", "name", "learned"}


def poisoned(value, number=0):
    """Plain data with every text, and every knob's name, made an attack; texts that the format fixes stay."""
    attack = ATTACKS[number % len(ATTACKS)]
    if isinstance(value, dict):
        return {
            f"{key}{attack}" if "." in key else key: item if key in KEPT else poisoned(item, number + place + 1)
            for place, (key, item) in enumerate(value.items())
        }
    if isinstance(value, list):
        return [poisoned(item, number + place) for place, item in enumerate(value)]
    return f"{value} {attack}" if isinstance(value, str) else value


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    folder = study_folder(tmp_path_factory.mktemp("runs") / ATTACKS[2], trials=16, confirmed=True)
    front = json.loads((folder / "front.json").read_text())
    (folder / "front.json").write_text(json.dumps(poisoned(front)))
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    # One extractor for all, or nothing is compared.
    hostile = [{**poisoned(line, place), "by": {"fid": ATTACKS[0]}} for place, line in enumerate(lines)]
    written = "".join(json.dumps(line) + "\n" for line in hostile)
    (folder / "trials.jsonl").write_text(written)
    for place in (folder / "trials").iterdir():
        (place / "log.txt").write_text("\n".join(ATTACKS))
        (place / "recipe.yaml").write_text("\n".join(ATTACKS))
    return StudyViews.open(folder)


@pytest.fixture(scope="module")
def pages(attacked, stands, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    other = folder / "other"
    shutil.copytree(attacked.folder, other)
    both = [attacked, StudyViews.open(other)]
    write_overlay(both, folder / "overlay.html")
    return {
        "report": page(attacked),
        "overlay": (folder / "overlay.html").read_text(),
        "contrast": contrast_page(Contrast.of(both)),
        **{f"analysis {finding.what}": analysis_page(finding) for finding in findings()},
        "simulation": simulation_page(hostile_contest(stands)),
    }


def findings():
    """One of each analysis, every text in it an attack: names of the model, of blocks, of criteria, of knobs."""
    texts = cycle(ATTACKS)
    blocks = tuple(f"block {number} {next(texts)}" for number in range(len(ATTACKS)))
    strip = b"RIFF0000WEBP" + ATTACKS[0].encode()
    whole = Point(block="", ratio=0.0, achieved=0.0, lighter=0.0, fid=Measurement(value=20.0), strip=strip)
    points = tuple(
        replace(whole, block=block, ratio=ratio, achieved=ratio, lighter=ratio, fid=Measurement(value=20 + 60 * ratio))
        for block in blocks
        for ratio in (0.25, 0.5)
    )
    yield Sensitivity(
        name=ATTACKS[1], by="block", unpruned=whole, points=points, blocks=blocks, times=2.0, pruning=ATTACKS[2]
    )
    yield Timesteps(
        name=ATTACKS[1],
        timestep=tuple(range(10)),
        loss=tuple(1 / (1 + step) for step in range(10)),
        importance=tuple(1 / (1 + step) for step in range(10)),
        kept=(Kept(threshold=0.05, timesteps=3, share=0.3, overlap=0.5),),
        gone=0.3,
        steps=10,
        scored=ATTACKS[4],
    )
    steps = [
        Step(before=before, after=after, distance={block: 0.1 * place for place, block in enumerate(blocks)})
        for before, after in pairwise(ATTACKS)
    ]
    yield WeightVariation(name=ATTACKS[0], steps=tuple(steps[:6]))


def hostile_contest(stands):
    """A simulated study whose name, question, and objectives' titles and units are attacks; samplers are ours."""
    held = contest(stands, trainings=30, seeds=1)
    front = stands.views.front
    texts = cycle(ATTACKS)
    objectives = [replace(each, title=next(texts), unit=next(texts)) for each in front.objectives]
    front = replace(front, study=ATTACKS[1], objectives=objectives, question=ATTACKS[0])
    return replace(held, stand_in=replace(stands, views=replace(stands.views, front=front)))


def test_no_text_becomes_markup(pages):
    assert len(pages) == 7
    for name, text in pages.items():
        found = Elements(text)
        assert "window.hit=1" in found.text, name
        for tag, attributes in found.tags:
            assert tag not in ("a", "svg", "iframe", "object", "form", "base"), (name, tag)
            assert not [key for key in attributes if key.startswith("on")], (name, tag, attributes)
            assert not str(attributes.get("src", "data:")).startswith(("x", "http")), (name, tag)
        scripts = [attributes for tag, attributes in found.tags if tag == "script"]
        assert all(set(attributes) <= {"type", "id"} for attributes in scripts), name
        assert len([attributes for attributes in scripts if not attributes]) == 2, name  # plotly's and ours
        assert len(found.named("style")) == 1, name


def test_no_text_of_a_study_hides_in_a_page(pages):
    for name in ("report", "overlay", "contrast"):
        own = pages[name][pages[name].index("<main>") :]
        assert not any(character in own for character in ("\u2028", "\u202e", "\x1b", "\x00")), name


@needs_chromium
def test_nothing_hostile_runs_in_a_browser(pages, tmp_path):
    """Without the page's own policy: the escaping alone has to hold."""
    script = """
      for (const row of document.querySelectorAll("tr[data-trial]")) row.click();
      for (const detail of document.querySelectorAll("details")) detail.open = true;
      for (const panel of document.querySelectorAll("[data-figure]"))
        if (panel.data)
          for (const curve of panel.data.keys()) {
            try { Plotly.Fx.hover(panel, [{ curveNumber: curve, pointNumber: 0 }]); } catch { }
            await wait();
          }
      await wait(); await wait(); await wait();
      report("hit", String(window.hit));
      const bad = "a:not(.modebar-btn), [onerror], [onload], [onmouseover]";
      report("links", String(document.querySelectorAll(bad).length));
      report("broken", String([...document.images].filter((each) => !each.src.startsWith("data:")).length));
      report("shown", String(document.body.innerText.includes("window.hit=1")));
      report("figures", String([...document.querySelectorAll("[data-figure]")].filter((each) => each.data).length));
    """
    for name, text in pages.items():
        body, console = drive(text, script, tmp_path)
        found = {key: body.get(f"data-{key}") for key in ("hit", "links", "broken", "shown")}
        assert found == {"hit": "undefined", "links": "0", "broken": "0", "shown": "true"}, (name, console)
        assert int(body["data-figures"]) >= 1, name


def test_terminal_obeys_no_text_of_a_study(attacked, capsys):
    from rich.console import Console

    show(attacked, best(attacked, {}), Console(markup=False, emoji=False, force_terminal=False, width=200))
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\u202e" not in said and "\x00" not in said
    assert "window.hit=1" in said
