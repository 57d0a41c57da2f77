"""The page's own JavaScript: draws the figures in the colours of the theme, and lights a chosen trial everywhere.

It only clones elements that are in the page already and never builds markup from text.
"""

SCRIPT = """
(() => {
  "use strict";
  const page = JSON.parse(document.getElementById("figures").textContent);
  const panels = [...document.querySelectorAll("[data-figure]")];
  const rows = new Map([...document.querySelectorAll("tr[data-trial]")].map((row) => [Number(row.dataset.trial), row]));
  const narrow = matchMedia("(max-width: 640px)");
  const switches = [...document.querySelectorAll("[data-role]")];
  let pinned = page.chosen;
  let shown = null;

  const colour = (role) => getComputedStyle(document.documentElement).getPropertyValue("--" + role).trim();

  const coloured = (trace) => {
    const own = colour(trace.meta);
    const control = switches.find((found) => found.dataset.role === trace.meta);
    const marker = trace.marker && { ...trace.marker, color: own, line: { ...trace.marker.line, color: own } };
    if (/^(front|teacher|share)/.test(trace.meta)) marker.line.color = colour("page");
    return {
      ...trace,
      visible: !control || control.ariaPressed === "true",
      ...(marker && { marker, error_y: { ...trace.error_y, color: own } }),
      ...(trace.line && { line: { ...trace.line, color: own } }),
    };
  };

  const themed = (axis) => ({
    ...axis,
    gridcolor: colour("line"), linecolor: colour("line"), tickcolor: colour("line"), showline: true,
    title: { ...axis.title, font: { size: 13, color: colour("text") } },
    tickfont: { size: 12, color: colour("muted") },
    fixedrange: narrow.matches,
  });

  const axesOf = (figure) => {
    const isWide = switches.some((found) => found.dataset.role === "stopped" && found.ariaPressed === "true");
    return isWide && figure.layout.meta ? figure.layout.meta.with_stopped : figure.layout;
  };

  const layoutOf = (figure, panel) => ({
    ...figure.layout,
    height: panel.clientHeight,
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("text") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: themed(axesOf(figure).xaxis), yaxis: themed(axesOf(figure).yaxis),
    shapes: figure.layout.shapes.map((shape) => ({ ...shape, line: { ...shape.line, color: colour("limit") } })),
    hoverlabel: {
      ...figure.layout.hoverlabel, bgcolor: colour("surface"), bordercolor: colour("line"),
      font: { size: 12, color: colour("text") },
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("dominated"), activecolor: colour("text") },
    dragmode: narrow.matches ? false : "zoom",
  });

  // On the front's figures a trial has one place, beside its short trainings one for each.
  const place = (figure, trial) => {
    const xs = [], ys = [];
    for (const trace of figure.data) {
      if (trace.hoverinfo === "skip" || !trace.customdata) continue;
      const index = trace.customdata.indexOf(trial);
      if (index >= 0) { xs.push(trace.x[index]); ys.push(trace.y[index]); }
    }
    return [xs, ys];
  };

  const draw = () => Promise.all(panels.map((panel, index) => {
    const figure = page.figures[index];
    const traces = figure.data.map(coloured);
    const chosen = traces.find((trace) => trace.meta === "chosen");
    [chosen.x, chosen.y] = place(figure, shown);
    return Plotly.react(panel, traces, layoutOf(figure, panel), {
      responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  }));

  const fillCard = (trial) => {
    const card = document.getElementById("card-" + trial);
    if (card) document.getElementById("chosen").replaceChildren(card.content.cloneNode(true));
  };

  const light = (trial) => {
    if (trial === null || trial === shown) return;
    shown = trial;
    rows.forEach((row, number) => row.setAttribute("aria-selected", String(number === trial)));
    fillCard(trial);
    panels.forEach((panel, index) => {
      const figure = page.figures[index];
      const [x, y] = place(figure, trial);
      const chosen = figure.data.findIndex((trace) => trace.meta === "chosen");
      if (panel.data) Plotly.restyle(panel, { x: [x], y: [y] }, [chosen]);
    });
  };

  const pin = (trial) => { pinned = trial; light(trial); };

  const trialOf = (event) => event.points.map((point) => point.customdata).find(Number.isInteger) ?? null;

  rows.forEach((row, trial) => {
    row.addEventListener("click", () => pin(trial));
    row.addEventListener("focus", () => pin(trial));
  });

  switches.forEach((control) => control.addEventListener("click", () => {
    control.ariaPressed = String(control.ariaPressed !== "true");
    draw();
  }));

  light(pinned);
  draw().then(() => panels.forEach((panel) => {
    panel.on("plotly_hover", (event) => light(trialOf(event)));
    panel.on("plotly_unhover", () => light(pinned));
    panel.on("plotly_click", (event) => { const trial = trialOf(event); if (trial !== null) pin(trial); });
  })).then(() => document.documentElement.dataset.drawn = "true");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  narrow.addEventListener("change", draw);
})();
"""
