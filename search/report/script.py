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
  let pinned = page.chosen;
  let shown = null;

  const colour = (role) => getComputedStyle(document.documentElement).getPropertyValue("--" + role).trim();

  const coloured = (trace) => {
    const own = colour(trace.meta);
    const marker = trace.marker && { ...trace.marker, color: own, line: { ...trace.marker.line, color: own } };
    if (trace.meta === "front" || trace.meta === "teacher") marker.line.color = colour("page");
    return {
      ...trace,
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

  const layoutOf = (figure, panel) => ({
    ...figure.layout,
    height: panel.clientHeight,
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("text") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: themed(figure.layout.xaxis), yaxis: themed(figure.layout.yaxis),
    shapes: figure.layout.shapes.map((shape) => ({ ...shape, line: { ...shape.line, color: colour("limit") } })),
    hoverlabel: {
      ...figure.layout.hoverlabel, bgcolor: colour("surface"), bordercolor: colour("line"),
      font: { size: 12, color: colour("text") },
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("dominated"), activecolor: colour("text") },
    dragmode: narrow.matches ? false : "zoom",
  });

  const place = (figure, trial) => {
    for (const trace of figure.data) {
      if (trace.meta !== "front" && trace.meta !== "dominated") continue;
      const index = trace.customdata.indexOf(trial);
      if (index >= 0) return [[trace.x[index]], [trace.y[index]]];
    }
    return [[], []];
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
