"""The page's style sheet: one column on a phone, panels beside the chosen trial on a desk, light and dark."""

from collections.abc import Mapping


def style_sheet(light: Mapping[str, str], dark: Mapping[str, str]) -> str:
    """The rules, with one CSS variable per role of the palettes."""
    return (
        f":root{{{_variables(light)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{_variables(dark)}}}}}"
        f"@media print{{:root{{{_variables(light)}}}}}:root[data-printed]{{{_variables(light)}}}{_RULES}"
    )


def _variables(palette: Mapping[str, str]) -> str:
    return "".join(f"--{role}:{colour};" for role, colour in palette.items())


_RULES = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); -webkit-text-size-adjust: 100%;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1360px; margin: 0 auto; padding: 36px 32px 72px; }
header { margin-bottom: 26px; }
header p { margin: 0; }
h1 { margin: 2px 0 6px; font-size: 28px; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 44px 0 14px; font-size: 19px; }
h3 { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; margin: 0 0 12px; font-size: 17px; }
h4 { margin: 18px 0 6px; font-size: 13px; font-weight: 600; color: var(--muted); }
.question { max-width: 72ch; font-size: 17px; color: var(--muted); text-wrap: balance; }
.quiet { color: var(--muted); font-size: 13px; }
code { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
  overflow-wrap: anywhere; }
dl, dd { margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 0 28px;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); padding: 16px 0 18px; }
.tiles dt { font-size: 13px; color: var(--muted); overflow-wrap: anywhere; }
.tiles dd { overflow-wrap: anywhere; }
.tiles dt + dd { font-size: 18px; line-height: 1.35; font-weight: 600; font-variant-numeric: tabular-nums; }
.explore { display: grid; grid-template-columns: minmax(0, 1fr) 340px; gap: 32px; margin-top: 26px; }
.legend { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 20px; margin: 0 0 8px; padding: 0;
  list-style: none; font-size: 13px; color: var(--muted); }
.legend span { display: inline-block; margin-right: 6px; font-size: 15px; }
.legend .front, .legend .steps { color: var(--front); } .legend .dominated { color: var(--dominated); }
.legend .knee { color: var(--knee); } .legend .teacher { color: var(--teacher); }
.legend .reference { color: var(--reference); }
.legend .once { color: var(--once); } .legend .stopped { color: var(--stopped); }
.legend .failed { color: var(--failed); }
.legend .limit { color: var(--limit); } .legend .budget { color: var(--budget); }
.legend .chosen { color: var(--chosen); } .legend .same { color: var(--same); }
.legend .share0 { color: var(--share0); } .legend .share1 { color: var(--share1); }
.legend .share2 { color: var(--share2); } .legend .share3 { color: var(--share3); }
.legend button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: left; text-decoration: underline dotted; text-underline-offset: 3px; }
.legend button::after { content: ": hide"; } .legend button[aria-pressed=false]::after { content: ": show"; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 14px 24px; }
.panel { min-width: 0; height: 340px; overflow: hidden; }
.panel .annotation-text { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
.panel .modebar { opacity: 0; transition: opacity .15s; }
.panel:hover .modebar, .panel:focus-within .modebar { opacity: 1; }
.panels .panel:first-child { grid-column: 1 / -1; }
.panels.even .panel:first-child { grid-column: auto; } .panels.even .panel { height: 280px; }
.foretell { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 14px 32px; }
.foretell div > ul:not(.legend) { margin: 0 0 12px; padding-left: 18px; }
.foretell div > ul:not(.legend) li + li { margin-top: 6px; }
aside { position: sticky; top: 20px; align-self: start; max-height: calc(100vh - 40px); overflow: auto;
  background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px 20px; }
aside dl div { display: flex; justify-content: space-between; gap: 16px; padding: 3px 0; }
aside dl div + div { border-top: 1px solid var(--line); }
aside dt { color: var(--muted); overflow-wrap: anywhere; }
aside dd { flex: none; max-width: 62%; text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.badge { border: 1px solid currentColor; border-radius: 99px; padding: 0 8px; font-size: 12px; font-weight: 500;
  line-height: 19px; color: var(--muted); white-space: nowrap; }
.badge.knee { color: var(--knee); }
.strip { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: 4px; background: #000; }
aside .strip { margin-bottom: 12px; }
.command { display: block; padding: 8px 10px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--page); user-select: all; }
.copied { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 6px; align-items: start; margin-top: 6px; }
.copied pre { margin: 0; max-height: 420px; overflow: auto; }
pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.copy { font: inherit; font-size: 12px; padding: 7px 9px; border: 1px solid var(--line); border-radius: 6px;
  cursor: pointer; background: var(--page); color: var(--muted); }
figure { margin: 0 0 8px; }
figcaption { font-size: 12px; color: var(--muted); margin-bottom: 2px; }
.asking { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 16px 40px; }
#budget h2 { margin-top: 28px; }
.slider { display: grid; grid-template-columns: minmax(0, 1fr) 132px; gap: 0 14px; align-items: center;
  padding: 4px 0; }
.slider label { grid-column: 1 / -1; font-size: 13px; color: var(--muted); }
.slider > input { width: 100%; margin: 0; accent-color: color-mix(in srgb, var(--budget) 70%, var(--text)); }
.slider > span { display: flex; gap: 6px; align-items: baseline; }
.slider input[type=text] { font: inherit; font-size: 14px; width: 92px; padding: 2px 6px; color: var(--text);
  background: var(--page); border: 1px solid var(--line); border-radius: 6px; font-variant-numeric: tabular-nums; }
.slider input[aria-invalid=true] { border-color: var(--limit); }
.unit { font-size: 13px; color: var(--muted); }
#answer { display: grid; gap: 8px; align-content: start; }
#answer p { margin: 0; }
.option { display: flex; flex-wrap: wrap; gap: 0 10px; font: inherit; font-size: 14px; color: inherit; text-align: left;
  padding: 7px 12px; background: var(--surface); border: 1px solid var(--line); border-radius: 8px; cursor: pointer; }
.option .role { min-width: 86px; color: var(--muted); } .option .quiet, .option .note { flex-basis: 100%; }
.option .note { font-size: 13px; } .option:first-child { border-color: var(--budget); }
.film { display: flex; gap: 10px; overflow-x: auto; padding: 4px 2px 10px; margin-bottom: 12px; }
.film button { flex: 0 0 176px; display: grid; gap: 1px; font: inherit; font-size: 12.5px; text-align: left;
  cursor: pointer; color: inherit; background: none; border: 1px solid var(--line); border-radius: 8px; padding: 7px; }
.film button[aria-pressed=true] { border-color: var(--chosen); box-shadow: inset 0 0 0 1px var(--chosen); }
.film img { width: 100%; height: 40px; object-fit: cover; object-position: left; image-rendering: pixelated;
  border-radius: 3px; background: #000; margin-bottom: 4px; }
.film span { color: var(--muted); font-variant-numeric: tabular-nums; }
.halves { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 32px; }
.part details { margin-top: 14px; padding-top: 10px; } .part summary { font-size: 14px; }
.spent { max-width: 860px; } .spent td:nth-child(3) { width: 40%; }
.track { display: inline-block; width: calc(100% - 72px); margin-left: 10px; vertical-align: middle; }
.spent td:nth-child(3) > span:first-child { display: inline-block; width: 56px; text-align: right; }
.bar { display: block; height: 10px; border-radius: 2px; background: var(--front); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 14px; }
th { text-align: left; font-size: 12.5px; font-weight: 600; color: var(--muted); white-space: nowrap; }
th, td { padding: 9px 14px 9px 0; vertical-align: middle; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 10px; }
td { font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
td[data-label=State] { white-space: nowrap; }
.overlaid .share0, .overlaid .share1, .overlaid .share2, .overlaid .share3 { font-size: 12px; }
.overlaid .share0 { color: var(--share0); } .overlaid .share1 { color: var(--share1); }
.overlaid .share2 { color: var(--share2); } .overlaid .share3 { color: var(--share3); }
.front th, .overlaid th { white-space: normal; vertical-align: bottom; text-wrap: balance; }
.overlaid td:not(:last-child) { white-space: nowrap; }
.overlaid td:nth-child(2) { width: 270px; min-width: 200px; }
.overlaid td:last-child { width: 34%; min-width: 240px; font-size: 13px; color: var(--muted); }
.front td:not(:nth-last-child(-n+2)) { white-space: nowrap; }
.pictured td:nth-child(2) { width: 270px; min-width: 200px; }
.front td:nth-last-child(2) { width: 30%; min-width: 240px; font-size: 13px; color: var(--muted); }
.front td:last-child { white-space: nowrap; }
tr[data-trial] { cursor: pointer; }
tr[data-trial]:hover, tr[aria-selected=true] { background: var(--surface); }
tr[aria-selected=true] td:first-child { box-shadow: inset 3px 0 var(--front); }
:focus-visible { outline: 2px solid var(--front); outline-offset: -2px; }
/* Laid out once the figures on the screen are there: a long study's table takes as long as they do. */
@media (scripting: enabled) { html:not([data-opened]) tr:nth-child(n+25) { display: none; } }
details { margin-top: 26px; border-top: 1px solid var(--line); padding-top: 14px; }
summary { cursor: pointer; font-size: 16px; font-weight: 600; margin-bottom: 8px; }
.warning, .empty { border-left: 3px solid var(--limit); background: var(--surface); padding: 12px 16px;
  margin: 20px 0; }
.empty { border-color: var(--front); }
@media (max-width: 980px) {
  .explore, .foretell, .asking, .halves { grid-template-columns: minmax(0, 1fr); }
  aside { position: static; max-height: none; }
}
@media (max-width: 640px) {
  main { padding: 22px 16px 48px; }
  h1 { font-size: 23px; } .question { font-size: 15px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 14px 20px; }
  .panels { grid-template-columns: minmax(0, 1fr); }
  .panel { height: 300px; }
  thead { display: none; }
  table, tbody, tr, td { display: block; width: auto; }
  tr { border-bottom: 1px solid var(--line); padding: 12px 8px; }
  td, td:first-child { display: flex; justify-content: space-between; gap: 18px; padding: 3px 0; border: 0;
    text-align: right; }
  .pictured td:nth-child(2), .overlaid td:nth-child(2) { display: block; padding: 6px 0 8px; }
  td[data-label=Candidate], td[data-label=Reason] { display: block; text-align: left; min-width: 0; }
  td[data-label=Candidate]::before, td[data-label=Reason]::before { display: block; }
  aside { position: sticky; bottom: 0; top: auto; max-height: 36vh; padding: 12px 16px; margin: 0 -16px;
    border-radius: 12px 12px 0 0; border-width: 1px 0; box-shadow: 0 -6px 18px rgb(0 0 0 / .10); z-index: 2; }
  .front td, .overlaid td { width: auto !important; white-space: normal !important; }
  td:first-child > :first-child { margin-left: auto; }
  td::before { content: attr(data-label); color: var(--muted); flex: 0 1 auto; max-width: 58%;
    text-align: left; }
  .pictured td:nth-child(2)::before, .overlaid td:nth-child(2)::before, td:empty::before { content: none; }
  tr[aria-selected=true] td:first-child { box-shadow: none; }
  tr[aria-selected=true] { box-shadow: inset 3px 0 var(--front); }
}
/* The width within the margins of a sheet of A4 or US letter, at which figures are drawn before it is printed. */
[data-printed] main { width: 680px; padding: 0; }
[data-printed] .explore, [data-printed] .panels, [data-printed] .foretell { display: block; }
[data-printed] aside { display: none; }
@media print { .explore { display: block; } aside, .film, .copy, .sliders { display: none; }
  .panel, tr { break-inside: avoid; } h2, h3, h4 { break-after: avoid; } .scroll { overflow: visible; }
  table, table code, table td:nth-child(n) { font-size: 11px; }
  th, td:nth-child(n), td:nth-last-child(n) { padding-right: 8px; min-width: 0; white-space: normal; }
  td[data-label=Pictures]:nth-child(n) { width: 130px; min-width: 110px; }
  .front th:last-child, .front td:last-child { display: none; } }
"""
