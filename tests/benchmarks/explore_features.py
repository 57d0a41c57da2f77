"""What the report shows of a study, and what optuna-dashboard 0.21.0 shows of the same.

Each cell says what was seen by clicking, dragging and looking, on a search of ``spaces/combined_small.yaml`` (42
trials, four objectives) and on the study that ``explore.py`` makes up, with Optuna 5.0.0. Look again when these change.
"""

FEATURES = (
    (
        "front of four objectives",
        "FID against each cost at once, linked: a trial chosen in one is lit in all, in the table and in the pictures",
        "one pair at a time, chosen from lists",
    ),
    (
        "best model within a budget",
        "a slider or typed bound per objective: best, runner-up, nearest miss, and the commands to take them",
        "no answer; an axis of the parallel coordinates can be dragged over, and the table keeps what lies within",
    ),
    (
        "which one to take without a budget",
        "the knee, and why it is that, in words",
        "no; all points of the front under 'Best Trials'",
    ),
    ("error bars and ties", "both; the front is what was measured again", "no"),
    (
        "limits and the teacher in the figures",
        "yes",
        "no",
    ),
    (
        "pictures that models draw",
        "of every trial, beside its neighbours and the teacher, from the same noise",
        "as a trial's artifact, one trial at a time, if the program stored it there; ours does not",
    ),
    (
        "stopped and failed trials",
        "apart, to be shown or hidden, with their reasons",
        "failed ones red in a timeline; those stopped early stand as running, for good",
    ),
    (
        "axis titles and units",
        "on every axis",
        "none on the front, names without units elsewhere",
    ),
    (
        "which knobs matter",
        "share of the variance of FID with its interval, said in words, with how well the model foretells",
        "for every objective, without uncertainty: a plus where costs are asked about",
    ),
    (
        "how a knob matters",
        "expected FID with uncertainty, for those that matter most",
        "trials over one knob, contours and ranks over any two: more to choose from, no uncertainty",
    ),
    (
        "history",
        "hypervolume over trainings and over time; what 20 more trainings are expected to add",
        "best value of one objective over trials or dates; a timeline of trials; no hypervolume, nothing foretold",
    ),
    ("how well short trainings foretell", "yes", "no"),
    (
        "parallel coordinates",
        "the front and the best others, the chosen one lit",
        "all complete trials, axes to choose and to drag over: better for filtering",
    ),
    (
        "what a model is made of",
        "recipe to copy, asked against achieved, layers before and after, log",
        "its knobs; stored attributes as raw JSON on one line",
    ),
    (
        "taking a model",
        "commands to copy, which export it for full training",
        "no; the table as CSV, which ours leaves to trials.jsonl",
    ),
    (
        "several studies",
        "fronts in one figure (search.explore A B), hypervolumes and agreement (search.compare A B)",
        "histories and distributions in one figure, no fronts",
    ),
    (
        "while the search runs",
        "written again as trials end, seen when reloaded",
        "better: a new trial appears by itself, after 6 s when tried",
    ),
    (
        "offline, and to be sent to others",
        "one file",
        "needs its server and the database; no network beyond",
    ),
    ("390 pixels wide", "fits", "scrolls sideways: 772 pixels"),
    (
        "other studies than ours",
        "no: spaces of this program alone",
        "better: any study of Optuna",
    ),
    (
        "editing",
        "no: what is shown is what was measured",
        "better: notes to a study and to trials, files to a trial that runs, new studies",
    ),
)
