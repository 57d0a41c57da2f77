"""Of the page's script: the budget panel, with the rule of ``search.best`` and ``search.front.best_within``.

Trials come in the order of that rule, so the best that fits is the first that fits.
"""

BUDGET = """
  const budget = document.getElementById("budget");
  let bounds = {}, unread = [];

  const signed = (column, value) => (study.objectives[column].goal === "max" ? -value : value);
  const valueOf = (trial, column) => signed(column, study.values[rowOf.get(trial)][column]);

  // By which share of each bound a trial is outside; of a bound of 0, by how much.
  const excess = (trial) => Object.entries(bounds).map(([column, bound]) => {
    const limit = signed(column, bound);
    return Math.max(0, (valueOf(trial, column) - limit) / (limit === 0 ? 1 : Math.abs(limit)));
  });

  const fits = (trial) => Object.entries(bounds).every(
    ([column, bound]) => valueOf(trial, column) <= signed(column, bound));

  const choice = () => {
    const order = study.orders.find((trials) => trials.some(fits)) ?? study.orders.at(-1);
    const [best, ...others] = order.filter(fits);
    const aim = best === undefined ? Infinity : valueOf(best, 0);
    let miss, least = Infinity;
    for (const trial of order) {
      if (fits(trial) || valueOf(trial, 0) >= aim) continue;
      const most = Math.max(...excess(trial));
      if (most < least) [miss, least] = [trial, most];
    }
    const error = (trial) => study.errors[rowOf.get(trial)];
    const isTied = (trial) => Math.abs(valueOf(trial, 0) - valueOf(best, 0)) <=
      study.tiedWithin * Math.hypot(error(best), error(trial));
    const isSecond = study.orders.length > 1 && order === study.orders[1];
    return { best, runnerUp: others[0], miss, tied: others.filter(isTied), isSecond };
  };

  const percent = (share) => (share === 0 ? "0" : Number((100 * share).toPrecision(2)).toLocaleString("en")) + " %";

  const outside = (trial) => {
    const shares = excess(trial);
    return Object.entries(bounds).map(([column, bound], place) => {
      const objective = study.objectives[column];
      const plain = withUnit(String(Number(shares[place].toPrecision(3))), objective);
      const amount = bound === 0 ? plain : percent(shares[place]);
      const side = objective.goal === "max" ? " below " : " above ";
      return shares[place] > 0 ? objective.title + " is " + amount + side + withUnit(String(bound), objective) : null;
    }).filter((text) => text).join(", ");
  };

  const listed = (trials) => {
    const names = trials.slice(0, 6).map(String);
    if (trials.length > 6) names.push(trials.length - 6 + " more");
    return [names.slice(0, -1).join(", "), names.at(-1)].filter((part) => part).join(" and ");
  };

  const bestCommand = () => {
    const flags = Object.entries(bounds).map(([column, bound]) => {
      const objective = study.objectives[column];
      return (objective.goal === "max" ? " --min " : " --max ") + objective.name + "=" + bound;
    });
    return command("python -m search.best " + quoted(study.folder) + flags.join(""));
  };

  const option = (role, trial, ...notes) => {
    const row = rowOf.get(trial);
    const button = make("button", "option", make("span", "role", role), make("b", "", "Trial " + trial),
      make("span", "", valuesOf(row).map(([name, value]) => name + " " + value).join(", ")),
      make("span", "quiet", inShort(row)), ...notes.map((note) => make("span", "note", note)));
    button.type = "button";
    button.dataset.trial = trial;
    button.addEventListener("click", () => pin(trial));
    return button;
  };

  const answer = () => {
    const found = choice();
    const { best, runnerUp, miss, tied } = found;
    const told = { best: best ?? null, runner_up: runnerUp ?? null, nearest_miss: miss ?? null, tied };
    const title = study.objectives[0].title;
    const parts = unread.map(([name, text]) => make("p", "", name + ": " + text + " is not a number, so no limit."));
    if (best === undefined) parts.push(make("p", "", "No trial fits this budget."));
    else parts.push(option("Best", best, ...(tied.length ? ["tied with " + listed(tied) + ": " + title +
      " within 2 combined standard errors"] : []), ...(found.isSecond ? ["measured once, during the search, so its " +
      title + " may be luck"] : [])));
    if (runnerUp !== undefined) parts.push(option("Runner-up", runnerUp, ...(tied.includes(runnerUp) ? ["tied"] : [])));
    if (miss !== undefined) parts.push(option("Nearest miss", miss, outside(miss)));
    parts.push(make("div", "", bestCommand(), best === undefined ? null : exportCommand(best)));
    const place = document.getElementById("answer");
    place.dataset.answer = JSON.stringify(told);
    place.replaceChildren(...parts);
    return best ?? miss;
  };

  if (budget && study) {
    const fields = [...budget.querySelectorAll(".slider")].map((field, column) => {
      const [slider, typed] = field.querySelectorAll("input");
      return { slider, typed, column, stops: JSON.parse(slider.dataset.stops) };
    });
    // As the page writes it: with its unit, and commas between thousands; any other comma is a decimal one.
    const given = (typed, column) => {
      const text = typed.value.trim(), unit = study.objectives[column].unit;
      const isWithUnit = unit && text.toLowerCase().endsWith(unit.toLowerCase());
      const digits = isWithUnit ? text.slice(0, -unit.length).trim() : text;
      const isInThousands = /^-?[1-9]\\d{0,2}(,\\d{3})+(\\.\\d*)?$/.test(digits);
      const bound = digits === "" ? NaN : Number(isInThousands ? digits.replaceAll(",", "") : digits.replace(",", "."));
      typed.ariaInvalid = String(text !== "" && !Number.isFinite(bound));
      return bound;
    };
    const ask = () => {
      bounds = {};
      unread = [];
      for (const { slider, typed, column } of fields) {
        const bound = given(typed, column);
        if (Number.isFinite(bound)) bounds[column] = bound;
        else if (typed.ariaInvalid === "true") unread.push([study.objectives[column].title, typed.value.trim()]);
        slider.setAttribute("aria-valuetext",
          Number.isFinite(bound) ? withUnit(String(bound), study.objectives[column]) : "no limit");
      }
      pin(answer());
      drawBounds();
    };
    for (const { slider, typed, column, stops } of fields) {
      slider.addEventListener("input", () => { typed.value = stops[slider.value] ?? ""; ask(); });
      typed.addEventListener("input", () => {
        const bound = given(typed, column);
        const place = stops.findIndex((stop) => signed(column, Number(stop)) >= signed(column, bound));
        slider.value = place < 0 ? stops.length : place;
        ask();
      });
    }
    answer();
  }
"""
