"""How the page looks: on light and dark screens, on a telephone, on paper.

There is no script, and no style but this one: the page's policy names its digest (decision 0111).
"""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --raised: #f6f7f9; --line: #d5d9e0; --text: #1b1f24; --quiet: #57606a;
  --link: #0550ae; --good: #1a7f37; --doubtful: #8a5a00; --bad: #b3261e; --busy: #0550ae;
  --committed: #2f8f4e; --filtered: #7d8590; --quarantined: #c93c37; --duplicate: #a58ad6;
  --staged: #4a90d9; --pending: #d5d9e0; --removed: #b08968;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --raised: #1d2127; --line: #3a414b; --text: #e4e8ee; --quiet: #a3acb8;
    --link: #79b8ff; --good: #6fd08c; --doubtful: #e3b341; --bad: #ff8a80; --busy: #79b8ff;
    --committed: #4fb06f; --filtered: #8b949e; --quarantined: #ff7b72; --duplicate: #b79cf0;
    --staged: #58a6ff; --pending: #3a414b; --removed: #c9a27e;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1rem 1.25rem 3rem; max-width: 70rem; background: var(--page);
  color: var(--text); font: 15px/1.45 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
h4 { font-size: .95rem; margin: 1rem 0 .3rem; }
article { border-top: 1px solid var(--line); margin-top: 2rem; }
article > h2 { margin-top: 1.25rem; }
p { margin: .35rem 0; max-width: 48rem; }
.quiet, figcaption, caption { color: var(--quiet); font-size: .87rem; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
code, pre, .key {
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .87em;
}
code, bdi, td, dd, pre { unicode-bidi: isolate; }
pre {
  margin: .4rem 0; padding: .5rem .6rem; background: var(--raised); border-radius: 4px;
  white-space: pre-wrap; line-height: 1.35;
}
.state { font-weight: 650; white-space: nowrap; }
.good { color: var(--good); } .doubtful { color: var(--doubtful); }
.absent { color: var(--quiet); } .bad { color: var(--bad); } .busy { color: var(--busy); }
.verdict {
  border: 1px solid var(--line); border-left: 5px solid currentcolor; border-radius: 4px;
  padding: .6rem .9rem .7rem; margin: .8rem 0 1rem;
}
.verdict > * { color: var(--text); }
.verdict > .state { color: inherit; font-size: 1.05rem; margin: 0 0 .3rem; }
.verdict .command {
  display: inline-block; background: var(--raised); border: 1px solid var(--line);
  border-radius: 4px; padding: .1rem .45rem; user-select: all;
}
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem .9rem; margin: .3rem 0; }
dt { color: var(--quiet); font-size: .87rem; padding-top: .1rem; }
dd { grid-column: 2; margin: 0; min-width: 0; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 .6rem; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .7rem .25rem 0; }
th { font-weight: 600; font-size: .87rem; }
thead th { overflow-wrap: normal; border-bottom: 1px solid var(--line); color: var(--quiet); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
.wide tbody th, .wide td:not([class]) { min-width: 6rem; }
.short { white-space: nowrap; font-variant-numeric: tabular-nums; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead .number { text-align: right; }
figure { margin: .4rem 0 .6rem; }
svg { display: block; width: 100%; }
svg.sum { height: 1.5rem; border-radius: 4px; }
svg.time { height: 7.5rem; border-bottom: 1px solid var(--line); }
.committed { fill: var(--committed); background: var(--committed); }
.filtered { fill: var(--filtered); background: var(--filtered); }
.quarantined { fill: var(--quarantined); background: var(--quarantined); }
.duplicate { fill: var(--duplicate); background: var(--duplicate); }
.staged { fill: var(--staged); background: var(--staged); }
.pending { fill: var(--pending); background: var(--pending); }
.removed { fill: var(--removed); background: var(--removed); }
.span { fill: var(--raised); }
.swatch {
  display: inline-block; width: .75rem; height: .75rem; border-radius: 2px; margin-right: .45rem;
  vertical-align: -.05rem; border: 1px solid var(--line);
}
.axis { max-width: none; display: flex; justify-content: space-between; gap: 1rem; }
.axis, .scale { color: var(--quiet); font-size: .8rem; font-variant-numeric: tabular-nums; }
.axis .swatch { margin-left: .6rem; }
.axis > :last-child { text-align: right; }
.outcome { white-space: nowrap; }
details { margin: .3rem 0; }
summary { cursor: pointer; }
.narrow { width: auto; min-width: 22rem; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .5rem; }
@media (max-width: 40rem) {
  body { padding: .75rem .75rem 2rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { grid-column: 1; margin-bottom: .45rem; }
  .narrow { width: 100%; min-width: 0; }
}
@media (max-width: 22rem) {
  .sums th:last-child, .sums td:last-child { display: none; }
}
@media (max-width: 56rem) {
  .wide, .wide > tbody, .wide tr, .wide td, .wide tbody th { display: block; }
  .wide > thead {
    position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  }
  .wide > caption { display: block; }
  .wide tr { padding: .4rem 0; border-top: 1px solid var(--line); }
  .wide tbody tr > * { border-top: 0; }
  .wide { position: relative; overflow: clip; }
  .wide td, .wide tbody th {
    padding: .05rem 0; min-width: 0; text-align: left; white-space: normal;
  }
  .wide td[data-head]::before {
    content: attr(data-head) " "; color: var(--quiet); font-size: .82rem;
  }
  .wide td:empty { display: none; }
}
@media print {
  :root {
    color-scheme: light;
    --page: #fff; --raised: #f3f3f3; --line: #999; --text: #000; --quiet: #333; --link: #000;
    --good: #0a5a22; --doubtful: #5f3e00; --bad: #8c1d18; --busy: #003d82;
    --committed: #2f8f4e; --filtered: #7d8590; --quarantined: #c93c37; --duplicate: #a58ad6;
    --staged: #4a90d9; --pending: #d5d9e0; --removed: #b08968;
  }
  body { max-width: none; padding: 0; font-size: 10pt; }
  svg, .swatch { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .screen { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .verdict, figure, tr, dd { break-inside: avoid; }
  h2, h3, h4, summary, caption { break-after: avoid; }
}
"""
"""Colours have a contrast of 4.5 to 1 or more where text has them."""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""No script, no picture, no font, no address: only this style."""
