"""Of the page's script: draws the figures in the colours of the theme, and lights a chosen trial in all of them."""

FIGURES = """
  const page = read("figures");
  const panels = [...document.querySelectorAll("[data-figure]")];
  const figureOf = (panel) => page.figures[panel.dataset.figure];
  const rows = new Map([...document.querySelectorAll("tr[data-trial]")].map((row) => [Number(row.dataset.trial), row]));
  const narrow = matchMedia("(max-width: 640px)");
  const switches = [...document.querySelectorAll("[data-role]")];
  let pinned = page.chosen;
  let shown = null;

  const colour = (role) => getComputedStyle(document.documentElement).getPropertyValue("--" + role).trim();

  const isOn = (role) => {
    const control = switches.find((found) => found.dataset.role === role);
    return !control || control.ariaPressed === "true";
  };

  const coloured = (trace) => {
    const own = colour(trace.meta);
    const marker = trace.marker && { ...trace.marker, color: own, line: { ...trace.marker.line, color: own } };
    if (marker && /^(front|teacher|share)/.test(trace.meta)) marker.line.color = colour("page");
    const isTold = study && trace.customdata && /%\\{text\\}/.test(trace.hovertemplate) && !trace.text?.length;
    return {
      ...trace,
      visible: isOn(trace.meta),
      ...(isTold && { text: trace.customdata.map((trial) => (trial === null ? "" : hoverText(trial))) }),
      ...(marker && { marker, error_y: { ...trace.error_y, color: own } }),
      ...(trace.line && { line: { ...trace.line, color: own } }),
      ...(trace.fillcolor && { fillcolor: own + (/^#.{6}(..)$/.exec(trace.fillcolor)?.[1] ?? "29") }),
    };
  };

  const themed = (axis) => ({
    ...axis,
    gridcolor: colour("line"), linecolor: colour("line"), tickcolor: colour("line"), showline: axis.showline ?? true,
    title: { ...axis.title, font: { size: 13, color: colour("text") } },
    tickfont: { size: 12, color: colour("muted") },
    fixedrange: axis.fixedrange || narrow.matches,
  });

  // Of roles that may lie far from the rest: the axes for those that are shown.
  const axesOf = (figure) => {
    const shown = switches.map((found) => found.dataset.role).filter(isOn);
    const far = ["reference", "stopped"].filter((role) => shown.includes(role));
    return figure.layout.meta?.axes?.[far.join(" ")] ?? figure.layout;
  };

  // Axes beyond the first two, of figures that have several.
  const otherAxes = (layout) => Object.fromEntries(Object.entries(layout)
    .filter(([name]) => /^[xy]axis\\d/.test(name)).map(([name, axis]) => [name, themed(axis)]));

  const shapesOf = (figure) => [...figure.layout.shapes, ...budgetShapes(figure)].map((shape) => (
    { ...shape, line: { ...shape.line, color: colour(shape.name || "limit") } }));

  const layoutOf = (figure, panel) => ({
    ...figure.layout,
    // What plotly would take by itself, except that a page about to be printed has no time for it to notice.
    width: panel.clientWidth || undefined, height: panel.clientHeight,
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("text") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: themed(axesOf(figure).xaxis), yaxis: themed(axesOf(figure).yaxis), ...otherAxes(figure.layout),
    shapes: shapesOf(figure),
    hoverlabel: {
      ...figure.layout.hoverlabel, bgcolor: colour("surface"), bordercolor: colour("line"),
      font: { size: 12, color: colour("text") },
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("dominated"), activecolor: colour("text") },
    dragmode: narrow.matches ? false : "zoom",
  });

  // The bounds of the budget, in the figures whose axes they bound.
  const budgetShapes = (figure) => ["x", "y"].flatMap((side) => {
    const name = figure.layout.meta?.objectives?.[side];
    const column = study ? study.objectives.findIndex((objective) => objective.name === name) : -1;
    if (!(column in bounds)) return [];
    const at = bounds[column];
    const ends = side === "x" ? { xref: "x", yref: "paper", x0: at, x1: at, y0: 0, y1: 1 }
      : { xref: "paper", yref: "y", x0: 0, x1: 1, y0: at, y1: at };
    return [{ type: "line", name: "budget", line: { dash: "solid", width: 1.6 }, ...ends }];
  });

  const drawBounds = () => panels.forEach((panel) => {
    const figure = figureOf(panel);
    if (panel.data && figure.layout.meta?.objectives) Plotly.relayout(panel, { shapes: shapesOf(figure) });
  });

  // On the front's figures a trial has one place, whether it is drawn or not; elsewhere it may have several, one for
  // each share, or for each of its knobs.
  const place = (figure, trial) => {
    const { x, y } = figure.layout.meta?.objectives ?? {};
    if (y !== undefined && rowOf.has(trial)) {
      const isHidden = study.elsewhere.includes(trial) || (trial in study.reached && !isOn("stopped"));
      const at = [x === "" ? trial : measured(trial, x), measured(trial, y)];
      return isHidden || at.includes(null) ? [[], []] : at.map((value) => [value]);
    }
    const xs = [], ys = [];
    for (const trace of figure.data) {
      if (trace.hoverinfo === "skip" || !trace.customdata || !isOn(trace.meta)) continue;
      trace.customdata.forEach((other, index) => {
        if (other === trial) { xs.push(trace.x[index]); ys.push(trace.y[index]); }
      });
    }
    return [xs, ys];
  };

  const drawOne = async (panel) => {
    const figure = figureOf(panel);
    const traces = figure.data.map(coloured);
    const chosen = traces.find((trace) => trace.meta === "chosen");
    if (chosen) [chosen.x, chosen.y] = place(figure, shown);
    const isNew = !panel.data;
    await Plotly.react(panel, traces, layoutOf(figure, panel), {
      responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
    if (isNew) listen(panel);
  };

  // One after the other, with time in between for the page to show what is there and to answer.
  // What the screen shows comes first, and the page says when that is there (``data-opened``).
  const draw = async () => {
    const drawAll = async (some) => {
      for (const panel of some) {
        await drawOne(panel);
        await new Promise((done) => setTimeout(done));
      }
    };
    const isSeen = (panel) => {
      const { top, bottom } = panel.getBoundingClientRect();
      return bottom > 0 && top < innerHeight;
    };
    const [first, later] = [panels.filter(isSeen), panels.filter((panel) => !isSeen(panel))];
    try { await drawAll(first); } finally { document.documentElement.dataset.opened = "true"; }
    await drawAll(later);
  };

  // On paper figures are as wide as the paper, and light whatever the screen is.
  const print = (isPrinted) => {
    document.documentElement.toggleAttribute("data-printed", isPrinted);
    for (const panel of panels.filter((found) => found.data)) {
      const room = panel.parentElement.clientWidth;
      panel.style.zoom = isPrinted && panel.clientWidth > room ? room / panel.clientWidth : "";
      drawOne(panel);
    }
  };

  const listen = (panel) => {
    panel.on("plotly_hover", (event) => light(trialOf(event)));
    panel.on("plotly_unhover", () => light(pinned));
    panel.on("plotly_click", (event) => { const trial = trialOf(event); if (trial !== null) pin(trial); });
    const cost = figureOf(panel).layout.meta?.objectives?.x;
    if (!study || cost === undefined) return;
    // Most trials have no row to be reached by Tab, and a mouse is not for everyone.
    panel.tabIndex = 0;
    panel.setAttribute("role", "group");
    panel.setAttribute("aria-label", "A figure: arrow keys go from trial to trial, left and right along its axis");
    panel.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const along = study.trials.filter((trial) => place(figureOf(panel), trial)[0].length);
      if (cost !== "") along.sort((one, other) => measured(one, cost) - measured(other, cost));
      pin(along[Math.min(Math.max(along.indexOf(shown) + step, 0), along.length - 1)]);
    });
  };

  const light = (trial) => {
    if (trial === null || trial === undefined || trial === shown) return;
    shown = trial;
    rows.forEach((row, number) => row.setAttribute("aria-selected", String(number === trial)));
    fillCard(trial);
    lightFrame(trial);
    panels.forEach((panel) => {
      const figure = figureOf(panel);
      const [x, y] = place(figure, trial);
      const chosen = figure.data.findIndex((trace) => trace.meta === "chosen");
      // Plotly forgets an axis of choices when a trace on it is moved, so a figure without trials stays untouched.
      if (panel.data && chosen >= 0 && (x.length || panel.data[chosen].x.length)) {
        Plotly.restyle(panel, { x: [x], y: [y] }, [chosen]);
      }
    });
  };

  const pin = (trial) => { pinned = trial ?? pinned; light(trial); };

  const measured = (trial, name) =>
    study.values[rowOf.get(trial)][study.objectives.findIndex((objective) => objective.name === name)];

  const trialOf = (event) => event.points.map((point) => point.customdata).find(Number.isInteger) ?? null;
"""
