"""The report: what is on it, that nothing in a study can become markup, and that it works in a real browser."""

import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

from search.rank_fidelity import described
from search.report.answer import listed
from search.report.figure import figures
from search.report.foretell import foretelling_figure
from search.report.page import page, write_report
from search.views import StudyViews
from tests.search.study_folder import study_folder, trial, write_strip, write_views

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert(1)</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")


class Elements(HTMLParser):
    """Start tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._raw = [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else self._raw

    def handle_endtag(self, tag):
        self._raw = None if tag == self._raw else self._raw

    def handle_data(self, data):
        self.text += "" if self._raw else data

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    return StudyViews.open(study_folder(tmp_path_factory.mktemp("runs") / "digits"))


@pytest.fixture(scope="module")
def elements(views):
    return Elements(page(views))


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory):
    return StudyViews.open(study_folder(tmp_path_factory.mktemp("runs") / "confirmed", trials=48, confirmed=True))


def test_figures_are_valid_and_titled_with_units(views):
    drawn = [go.Figure(figure) for figure in figures(views)]
    titles = [figure.layout.xaxis.title.text for figure in drawn]
    assert titles == ["Size [MB]", "MACs [G]", "Latency [ms]"]
    assert all(figure.layout.yaxis.type == "log" and "FID" in figure.layout.yaxis.title.text for figure in drawn)
    assert all(len(figure.layout.shapes) == 2 for figure in drawn)


def test_each_complete_trial_is_on_each_figure_once(views):
    for figure in figures(views):
        traces = {trace["meta"]: trace for trace in figure["data"]}
        shown = [*traces["front"]["customdata"], *traces["dominated"]["customdata"]]
        assert sorted(shown) == [trial.number for trial in views.complete]
        assert sorted(traces["front"]["customdata"]) == sorted(point.trial for point in views.front.points)
        assert traces["front"]["error_y"]["array"][0] > 0
        assert traces["knee"]["customdata"] == [views.front.knee]


def test_once_trials_are_confirmed_the_others_are_apart(confirmed):
    again = {trial.number for trial in confirmed.complete if trial.confirmed}
    for figure in figures(confirmed):
        traces = {trace["meta"]: trace for trace in figure["data"]}
        assert {*traces["front"]["customdata"], *traces["dominated"]["customdata"]} == again
        assert {*traces["once"]["customdata"]} == {trial.number for trial in confirmed.complete} - again != set()
        point = confirmed.front.points[0]
        place = traces["front"]["customdata"].index(point.trial)
        assert traces["front"]["y"][place] == point.values["fid"] != point.first["fid"]
        assert traces["front"]["error_y"]["array"][place] == point.stderr["fid"]


def test_stopped_trials_are_never_among_full_results(views):
    numbers = {trial.number for trial in views.stopped}
    for figure in figures(views):
        traces = {trace["meta"]: trace for trace in figure["data"]}
        assert not numbers & {number for trace in figure["data"] for number in trace.get("customdata", [])}
        assert sorted(traces["stopped"]["y"]) == sorted(trial.values["fid"] for trial in views.stopped)
        assert all("stopped early: 2,667 of 24,000 images" in text for text in traces["stopped"]["text"])
        # Off until asked for: the axes are those of the full results, and others are ready for when it is on.
        shown, wide = figure["layout"]["yaxis"]["range"], figure["layout"]["meta"]["with_stopped"]["yaxis"]["range"]
        assert shown[1] < math.log10(max(traces["stopped"]["y"])) < wide[1]


def test_stopped_trials_without_known_costs_are_only_listed(tmp_path):
    records = [trial(0), trial(1, state="stopped", values={"fid": 80.0}, images=8_000, reason="others promised more")]
    views = StudyViews.open(write_views(tmp_path / "study", records))
    assert all(not trace["x"] for trace in figures(views)[0]["data"] if trace["meta"] == "stopped")
    elements = Elements(page(views))
    assert "others promised more" in elements.text
    assert [button["data-role"] for button in elements.named("button")] == []


def test_ties_are_marked_in_figure_table_and_card(confirmed):
    tied = {point.trial for point in confirmed.front.points if point.tied}
    front = next(trace for trace in figures(confirmed)[0]["data"] if trace["meta"] == "front")
    pairs = zip(front["customdata"], front["marker"]["symbol"], strict=True)
    assert {number for number, symbol in pairs if symbol == "circle-open-dot"} == tied != set()
    text = Elements(page(confirmed)).text
    for point in confirmed.front.points:
        if point.tied:
            assert f"tied with {listed(point.tied)}" in text
            assert f"Tied with trial{'s' if len(point.tied) > 1 else ''} {listed(point.tied)}, which do" in text


@pytest.mark.parametrize(
    ("again", "said"), [(31.0, "rose by 3 %"), (29.1, "fell by 3 %"), (30.1, "stayed the same in the median")]
)
def test_the_winners_curse_in_a_sentence(tmp_path, again, said):
    records = [trial(0, fid=30.0, confirmed={"fid": {"value": again, "stderr": 0.2, "draws": 4}})]
    text = Elements(page(StudyViews.open(write_views(tmp_path / "study", records)))).text
    assert f"of the 1 trials that led {said}" not in text
    assert f"of the trial that led {said}" in text
    assert "FID (digits-cnn-64d), first measured30" in text


def test_short_trainings_are_drawn_against_full_ones(confirmed):
    figure = foretelling_figure(confirmed)
    drawn = go.Figure(figure)
    assert drawn.layout.xaxis.title.text == "FID (digits-cnn-64d) at a share"
    assert (drawn.layout.xaxis.type, drawn.layout.yaxis.type) == ("log", "log")
    traces = {trace["meta"]: trace for trace in figure["data"]}
    for role, images in (("share0", 2_667), ("share1", 8_000)):
        trace = traces[role]
        assert trace["customdata"] == [trial.number for trial in confirmed.complete]
        for number, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True):
            found = next(trial for trial in confirmed.complete if trial.number == number)
            assert (x, y) == (next(r.values["fid"] for r in found.rungs if r.images == images), found.values["fid"])
    text = Elements(page(confirmed)).text
    assert all(line in text for line in described(confirmed.front.rank_fidelity))


def test_a_study_of_an_older_version_is_still_shown():
    views = StudyViews.open(ROOT / "studies" / "pruning_ratios")
    assert not views.front.rank_fidelity and views.front.winners_curse is None
    text = Elements(page(views)).text
    assert "24 of 24" in text
    assert "foretell" not in text and "Measured again" not in text


def test_steps_only_improve(views):
    for figure in figures(views):
        steps = next(trace for trace in figure["data"] if trace["meta"] == "steps")
        assert steps["x"] == sorted(steps["x"])
        assert steps["y"] == sorted(steps["y"], reverse=True)
        assert len(set(steps["y"])) == len(steps["y"]) > 1


def test_rows_run_from_largest_to_smallest_and_take_the_focus(views, elements):
    rows = [row for row in elements.named("tr") if "data-trial" in row]
    sizes = {point.trial: point.values["size_mb"] for point in views.front.points}
    shown = [sizes[int(row["data-trial"])] for row in rows]
    assert shown == sorted(sizes.values(), reverse=True)
    assert all(row["tabindex"] == "0" for row in rows)


def test_page_is_one_file_with_pictures_that_are_described(elements, views):
    images = elements.named("img")
    assert len(images) >= 2 * len(views.front.points)
    assert all(image["src"].startswith("data:image/webp;base64,") and "noise" in image["alt"] for image in images)
    assert not any("src" in script for script in elements.named("script"))
    assert [link["href"] for link in elements.named("link")] == ["data:,"]


def test_states_and_reasons_are_told(elements):
    for words in (
        "22, worth 19.3 of 24 full ones",  # two were rejected untrained and cost no budget, three stopped at a ninth
        "3 stopped",
        "Stopped early (3)",
        "2,667 of 24,000 images (11 %)",
        "loss is nan after 9,216 images",
        "norm groups of 8 channels",
        "digits-cnn-64d",
    ):
        assert words in elements.text


def test_nothing_in_a_study_becomes_markup(tmp_path):
    records = [
        trial(
            0, candidate={f"prune.{EVIL}": EVIL}, achieved=[{"what": EVIL, "asked": EVIL, "achieved": 1, "note": EVIL}]
        ),
        trial(1, state="failed", reason=EVIL, candidate={"a": [EVIL, {EVIL: 1}]}),
        trial(2, fid=29.0, by={"fid": EVIL}, path=f"trials/{EVIL[8:13]}"),
    ]
    objectives = [{"name": "fid", "title": EVIL, "unit": EVIL, "learned": True}, {"name": "size_mb", "title": EVIL}]
    folder = write_views(tmp_path / "study", records, study=EVIL, question=EVIL, objectives=objectives)
    text = page(StudyViews.open(folder))
    elements = Elements(text)
    assert "<script>alert" not in text
    assert len(elements.named("script")) == 3
    assert elements.text.count(EVIL) > 10


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "No trial is complete yet"),
        ([trial(0, state="failed", reason="out of memory")], "No trial is complete yet"),
        ([trial(0, fid=300.0)], "1 trial is complete, but none lies within the limits"),
    ],
)
def test_page_without_a_front_says_so(tmp_path, records, message):
    views = StudyViews.open(write_views(tmp_path / "study", records, teacher=None))
    assert not views.front.points
    assert message in Elements(page(views)).text


def test_a_study_of_one_objective_is_drawn_against_trials(tmp_path):
    objectives = [{"name": "fid", "title": "FID", "learned": True}]
    views = StudyViews.open(write_views(tmp_path / "study", [trial(0), trial(1, fid=29)], objectives=objectives))
    (figure,) = figures(views)
    assert go.Figure(figure).layout.xaxis.title.text == "Trial"


def test_pictures_that_are_no_webp_are_left_out(tmp_path):
    folder = write_views(tmp_path / "study", [trial(0)])
    (folder / "trials" / "0000").mkdir(parents=True)
    (folder / "trials" / "0000" / "samples.webp").write_bytes(b"<svg onload=alert(1)>")
    assert not Elements(page(StudyViews.open(folder))).named("img")


def test_report_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    folder = write_views(tmp_path / "study", [trial(0)])
    (folder / "report.html").write_text("old")
    path = write_report(StudyViews.open(folder))
    assert path == folder / "report.html"
    assert path.read_text().endswith("</html>")
    assert {file.name for file in folder.iterdir()} == {"front.json", "trials.jsonl", "report.html"}


def test_three_hundred_trials_stay_under_eight_megabytes(tmp_path):
    views = StudyViews.open(study_folder(tmp_path / "study", trials=300))
    assert 5e6 < len(page(views).encode()) < 8e6


def browse(path, tmp_path):
    """The page's elements after its scripts ran, and what it wrote to the console."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [CHROMIUM, *flags.split(), "--disable-component-update", "--disable-sync", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@needs_chromium
def test_page_draws_in_a_browser_without_a_console_message(views, tmp_path):
    found, console = browse(write_report(views), tmp_path)
    assert console == []
    assert 'data-drawn="true"' in found
    assert found.count('class="main-svg"') >= 3
    assert re.search(r'id="chosen"[^>]*><h3>Trial ' + str(views.front.knee), found)


@needs_chromium
def test_chosen_trial_is_lit_everywhere_and_text_stays_text(tmp_path):
    evil = "<img src=x onerror=\"document.title='owned'\">"
    records = [trial(0, candidate={"a.b": evil}), trial(1, fid=25.0, size_mb=0.9), trial(2, fid=40.0, size_mb=0.95)]
    folder = write_views(tmp_path / "study", records)
    write_strip(folder / "trials" / "0001" / "samples.webp", noise=0.1)
    driver = """
      const wait = () => new Promise((done) => setTimeout(done, 50));
      const panels = [...document.querySelectorAll("[data-figure]")];
      const state = () => JSON.stringify({
        card: document.querySelector("#chosen h3").firstChild.textContent,
        rings: panels.map((panel) => panel.data.find((trace) => trace.meta === "chosen").y[0]),
        rows: [...document.querySelectorAll("tr[aria-selected=true]")].map((row) => Number(row.dataset.trial)),
        pictures: document.querySelectorAll("#chosen img").length, title: document.title,
      });
      const report = (name) => document.body.dataset[name] = state();
      (async () => {
        while (!document.documentElement.dataset.drawn) await wait();
        document.querySelector("tr[data-trial='0']").focus(); report("focused");
        panels[1].emit("plotly_click", { points: [{ customdata: 1 }] }); report("clicked");
        panels[0].emit("plotly_hover", { points: [{ customdata: 2 }] }); report("hovered");
        panels[0].emit("plotly_unhover", {}); report("left");
        // The real thing as well: the mouse on trial 0, whose hover text and card hold the attack. A mouse is over what
        // is in view: out of it, the card's new height would move the figure away from under the pointer.
        panels[0].scrollIntoView();
        const field = panels[0].querySelector(".nsewdrag"), box = field.getBoundingClientRect();
        const { xaxis, yaxis } = panels[0]._fullLayout;
        const place = { clientX: box.left + xaxis.d2p(0.5), clientY: box.top + yaxis.d2p(30), bubbles: true };
        field.dispatchEvent(new MouseEvent("mousemove", place));
        await wait(); await wait(); report("over");
        document.body.dataset.label = panels[0].querySelector(".hoverlayer").textContent;
      })();
    """
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page(StudyViews.open(folder)))
    driven = folder / "driven.html"
    driven.write_text(text.replace("</body>", f"<script>{driver}</script></body>"))
    found, console = browse(driven, tmp_path)
    states = {name: Elements(found).named("body")[0].get(f"data-{name}") for name in
              ("focused", "clicked", "hovered", "left", "over")}  # fmt: skip
    assert console == []
    # The last ring lies on the figure of short trainings, where the trial's full value is its height, too.
    expected = '{{"card":"Trial {}","rings":[{y},{y},{y},{y}],"rows":[{}],"pictures":{},"title":"study - Slimfront"}}'
    assert states["focused"] == expected.format(0, 0, 0, y=30)
    assert states["clicked"] == states["left"] == expected.format(1, 1, 1, y=25)
    assert states["hovered"] == expected.format(2, "", 0, y=40)
    assert states["over"] == expected.format(0, 0, 0, y=30)
    assert "onerror" in Elements(found).named("body")[0]["data-label"]


@needs_chromium
def test_faint_trials_are_shown_and_hidden_from_the_legend(confirmed, tmp_path):
    driver = """
      const wait = () => new Promise((done) => setTimeout(done, 50));
      const panel = document.querySelector("[data-figure]");
      const isSeen = (trace) => trace.visible !== false && trace.x.length;
      const report = (name) => document.body.dataset[name] =
        [...panel.data.filter(isSeen).map((trace) => trace.meta), panel.layout.yaxis.range[1].toFixed(3)].join(" ");
      (async () => {
        while (!document.documentElement.dataset.drawn) await wait();
        report("first");
        for (const button of document.querySelectorAll("[data-role]")) { button.click(); await wait(); }
        report("turned");
      })();
    """
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page(confirmed))
    driven = confirmed.folder / "driven.html"
    driven.write_text(text.replace("</body>", f"<script>{driver}</script></body>"))
    found, console = browse(driven, tmp_path)
    body = Elements(found).named("body")[0]
    layout = figures(confirmed)[0]["layout"]
    full, wide = (axes["yaxis"]["range"][1] for axes in (layout, layout["meta"]["with_stopped"]))
    assert console == []
    assert body["data-first"] == f"dominated once steps front knee teacher chosen {full:.3f}"
    assert body["data-turned"] == f"stopped steps front knee teacher chosen {wide:.3f}"


@needs_chromium
@pytest.mark.parametrize("count", [0, 1])
def test_page_without_a_front_opens_without_a_console_message(tmp_path, count):
    folder = write_views(tmp_path / "study", [trial(0, fid=300.0)][:count])
    found, console = browse(write_report(StudyViews.open(folder)), tmp_path)
    assert console == []
    assert 'class="empty"' in found
