"""The page's own JavaScript, of its parts: figures, what is said of a trial, the budget.

It never builds markup from text. Pages of other kinds have only figures and rows; what is for other elements does
nothing there.
"""

from search.report.script_budget import BUDGET
from search.report.script_figures import FIGURES
from search.report.script_trials import TRIALS

_START = """
  rows.forEach((row, trial) => {
    row.addEventListener("click", () => pin(trial));
    row.addEventListener("focus", () => pin(trial));
  });

  switches.forEach((control) => control.addEventListener("click", () => {
    control.ariaPressed = String(control.ariaPressed !== "true");
    draw();
  }));

  light(pinned);
  draw().then(() => document.documentElement.dataset.drawn = "true");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
"""

SCRIPT = f"""
(() => {{
  "use strict";
  const read = (id) => {{
    const found = document.getElementById(id);
    return found && JSON.parse(found.textContent);
  }};
{FIGURES}{TRIALS}{BUDGET}{_START}}})();
"""
