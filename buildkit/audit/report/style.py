"""Rules of the report's page, after those of all pages."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
body { max-width: 72rem; }
p, dl, details > ul { max-width: 60rem; }
caption {
  text-align: left; padding: .75rem 0 .25rem;
  position: sticky; left: 0; max-width: calc(100vw - 2rem);
}
.name, td:not(.number) { min-width: 6.5rem; }
th[scope=row] { overflow-wrap: anywhere; min-width: 6.5rem; }
.time { white-space: nowrap; }
.chips { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; margin: 1rem 0; list-style: none; }
.chips li { border: 1px solid var(--edge); border-radius: .3rem; padding: .35rem .7rem;
  background: var(--band); }
.chips b { display: block; font-size: 1.1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .1rem 1rem; padding: 0; list-style: none; }
nav a { display: inline-block; padding: .25rem 0; }
a { color: var(--candidate); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: .15rem solid var(--candidate); outline-offset: .1rem;
}
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .25rem 1rem; }
dt { color: var(--quiet); } dd { margin: 0; }
summary { cursor: pointer; padding: .35rem 0; }
summary::marker { color: var(--quiet); }
details[open] > summary { margin-bottom: .25rem; }
bdi { unicode-bidi: isolate; }
code { overflow-wrap: anywhere; }
td code { word-break: break-all; }
table:has(th.number:last-child) { width: auto; min-width: 20rem; }
td.wide { min-width: 11rem; }
.bar { fill: var(--candidate); }
svg.graph { width: auto; max-width: 100%; }
svg.graph text { unicode-bidi: isolate; }
svg .box { fill: var(--band); stroke: var(--edge); stroke-width: 1; }
svg .box.PASS { stroke: var(--pass); stroke-width: 2; }
svg .box.FAIL { stroke: var(--fail); stroke-width: 2; }
svg .box.INCONCLUSIVE { stroke: var(--unclear); stroke-width: 2; stroke-dasharray: 5 3; }
svg text.stage, svg text.title, svg text.note { fill: var(--quiet); font-size: 11px; }
svg text.name { font-weight: 700; font-size: 13px; }
svg text.title.PASS { fill: var(--pass); } svg text.title.FAIL { fill: var(--fail); }
svg text.title.INCONCLUSIVE { fill: var(--unclear); }
svg .arrow { fill: none; stroke: var(--quiet); stroke-width: 1; }
svg .cross { fill: none; stroke: var(--fail); stroke-width: 2; }
svg.narrow { display: none; }
.trends { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 0 1.5rem; }
@media (max-width: 46rem) {
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
}
@media screen and (max-width: 46rem) {
  svg.wide { display: none; }
  svg.narrow { display: block; max-width: 26rem; margin: 0 auto; }
}
@media print {
  nav { display: none; }
  .scroll { overflow: visible; }
  table { font-size: .72rem; } .chips b { font-size: .9rem; }
  a { color: inherit; text-decoration: none; }
  h2, h3 { break-after: avoid; }
}
"""
