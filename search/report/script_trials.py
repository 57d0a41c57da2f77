"""Of the page's script: what is said of a trial. Its hover text, its card, its pictures beside its neighbours'.

Text of a study only ever becomes text: elements are made one by one, and hover texts, in which plotly knows a few tags,
are escaped.
"""

TRIALS = """
  const study = read("trials");
  const rowOf = new Map(study ? study.trials.map((trial, row) => [trial, row]) : []);

  const make = (tag, name, ...children) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };

  const definitions = (pairs) =>
    make("dl", "", ...pairs.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value))));

  const withUnit = (text, objective) => (objective.unit ? text + " " + objective.unit : text);

  const valuesOf = (row) =>
    study.objectives.map((objective, column) => [objective.title, withUnit(study.texts[row][column], objective)]);

  const candidateOf = (row) => study.candidates[row].map((index) => study.answers[index]);

  const inShort = (row) => candidateOf(row).map(([name, said, alone]) => (alone ? said : name + " " + said)).join(", ");

  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const wrapped = (text) => text.replace(/(.{1,46})(\\s|$)/g, "$1\\n").trimEnd().split("\\n").slice(0, 8);

  const hoverTexts = new Map();
  const hoverText = (trial) => {
    const row = rowOf.get(trial);
    if (row === undefined) return "";
    if (!hoverTexts.has(trial)) {
      const reached = study.reached[trial] ? ["<i>stopped early: " + escaped(study.reached[trial]) + "</i>"] : [];
      const values = valuesOf(row).map(([name, value]) => name + ": " + value);
      const more = wrapped(study.ties[trial] || "").concat(wrapped(inShort(row))).filter((line) => line);
      const lines = ["<b>Trial " + trial + "</b>", ...reached, ...[...values, ...more].map(escaped)];
      hoverTexts.set(trial, lines.join("<br>"));
    }
    return hoverTexts.get(trial);
  };

  // Nothing where none is kept, an empty text where it had no room on the page.
  const pictureOf = (trial) => {
    const image = rows.get(trial)?.querySelector("img");
    return image ? image.src : study.pictures[trial];
  };

  const strip = (caption, source, who) => {
    if (!source) return null;
    const image = make("img", "strip");
    image.src = source;
    image.alt = "Images drawn by " + who + ", from the same noise as all others";
    return make("figure", "", make("figcaption", "", caption), image);
  };

  // The points of the front beside a trial: the next larger and the next smaller, or the next better and worse.
  const neighbours = (trial) => {
    const at = study.front.indexOf(trial);
    if (at >= 0) return [study.front[at - 1], study.front[at + 1]];
    const place = (other) => {
      const value = study.values[rowOf.get(other)]?.[study.size ?? 0] ?? null;
      return value === null ? Infinity : study.size === null ? signed(0, value) : -value;
    };
    const before = study.front.filter((other) => place(other) < place(trial));
    return [before.at(-1), study.front[before.length]];
  };

  const drawn = (trial) => {
    const teacher = document.querySelector("tr.teacher img");
    const beside = (other, what) => {
      if (other === undefined || !rowOf.has(other)) return null;
      const [name, value] = valuesOf(rowOf.get(other))[0];
      return strip(what + ": trial " + other + ", " + name + " " + value, pictureOf(other), "trial " + other);
    };
    const [before, after] = neighbours(trial);
    const [larger, smaller] = study.size === null ? ["better", "worse"] : ["larger", "smaller"];
    return make("div", "drawn",
      strip("This one, trial " + trial, pictureOf(trial), "trial " + trial) ??
        make("p", "quiet", pictureOf(trial) === "" ? "Left out, as the page is full: samples.webp in its folder."
          : "No pictures kept."),
      beside(before, "Next " + larger + " on the front"),
      beside(after, "Next " + smaller + " on the front"),
      strip("Teacher, same noise", teacher?.src, "the teacher"));
  };

  const command = (text) => {
    const code = make("code", "command", text);
    code.tabIndex = 0;
    const button = make("button", "copy", "Copy");
    button.type = "button";
    return make("div", "copied", code, button);
  };

  const quoted = (text) => (/^[\\w@%+=:,./-]+$/.test(text) ? text : "'" + text.replace(/'/g, "'\\"'\\"'") + "'");

  const gone = new Set(study?.gone);
  const exportCommand = (trial) => gone.has(trial) ? make("p", "quiet", study.noModel) :
    command("python -m search.export " + quoted(study.folder) + " --trial " + trial + " --out my-student");

  const card = (trial) => {
    const row = rowOf.get(trial);
    const standing = study.standings[study.standing[row]];
    const first = Object.entries(study.first[trial] || {}).map(([name, value]) => [name + ", first measured", value]);
    const reached = study.reached[trial] ? [["Trained to", study.reached[trial]]] : [];
    return [
      make("h3", "", "Trial " + trial, make("span", "badge", standing),
        trial === study.knee ? make("span", "badge knee", "knee") : null),
      drawn(trial),
      definitions([...valuesOf(row), ...first, ...reached]),
      study.ties[trial] ? make("p", "quiet", study.ties[trial]) : null,
      make("h4", "", "Candidate"),
      definitions(candidateOf(row)),
      ...(study.reached[trial] ? [] : [make("h4", "", "Take it"), exportCommand(trial)]),
    ].filter((part) => part !== null);
  };

  const fillCard = (trial) => {
    const place = document.getElementById("chosen");
    if (!place || !rowOf.has(trial)) return;
    place.replaceChildren(...card(trial));
    const part = document.getElementById("part");
    const kept = document.getElementById("part-" + trial);
    if (part) part.replaceChildren(kept ? kept.content.cloneNode(true) : make("p", "quiet",
      "Trial " + trial + " is not on the front, or the page was full: what it is made of is in its folder."));
  };

  // The front as pictures, one after the other, each a button.
  const film = document.getElementById("film");
  const frames = new Map();
  if (film && study) {
    for (const trial of study.front) {
      const source = pictureOf(trial);
      const image = source ? make("img", "") : null;
      if (image) { image.src = source; image.alt = ""; }
      const values = rowOf.has(trial) ? valuesOf(rowOf.get(trial)).slice(0, 2) : [];
      const lines = values.map(([name, value]) => make("span", "", name + " " + value));
      const frame = make("button", "", image, make("b", "", "Trial " + trial), ...lines);
      frame.type = "button";
      frame.addEventListener("click", () => pin(trial));
      frames.set(trial, frame);
    }
    film.append(...frames.values());
  }

  const lightFrame = (trial) => {
    frames.forEach((frame, other) => frame.ariaPressed = String(other === trial));
    const frame = frames.get(trial);
    // Not scrollIntoView: it would move the page as well.
    if (frame) film.scrollLeft = frame.offsetLeft - film.offsetLeft - (film.clientWidth - frame.offsetWidth) / 2;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const text = button.previousElementSibling;
    getSelection().selectAllChildren(text);
    navigator.clipboard?.writeText(text.textContent).then(() => {
      button.textContent = "Copied";
      setTimeout(() => button.textContent = "Copy", 1500);
    }, () => {});
  });
"""
