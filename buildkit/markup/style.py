"""The style sheet of our pages: phone, screen and paper, light and dark."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --text: #1b1f23; --quiet: #57606a; --edge: #d0d7de; --band: #f6f8fa;
  --pass: #0b6b2e; --fail: #b3141d; --unclear: #875000;
  --candidate: #0b5cad; --baseline: #9a3d00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --text: #e6e9ec; --quiet: #a5adb6; --edge: #3a4149; --band: #1d2226;
    --pass: #63d489; --fail: #ff8f89; --unclear: #f2bd54;
    --candidate: #7db9ff; --baseline: #ffa566;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 60rem;
  font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p, ul { margin: .5rem 0; }
.outcome { font-size: 1.25rem; font-weight: 700; padding: .25rem .75rem; border: .2rem solid; }
.outcome, .word { display: inline-block; }
.word { font-weight: 700; white-space: nowrap; }
.PASS { color: var(--pass); } .FAIL { color: var(--fail); } .INCONCLUSIVE { color: var(--unclear); }
.marked {
  border: .2rem dashed var(--unclear); padding: .5rem .75rem; margin: 1rem 0; font-weight: 700;
}
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td {
  text-align: left; vertical-align: top; padding: .35rem .5rem;
  border-bottom: 1px solid var(--edge);
}
thead th { background: var(--band); }
th { overflow-wrap: break-word; hyphens: manual; }
th, td { min-width: 3.5rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .85em ui-monospace, monospace; }
figure { margin: 1rem 0; }
svg { display: block; width: 100%; max-width: 38rem; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); }
svg line { stroke: var(--text); stroke-width: 1; }
svg .grid { stroke: var(--edge); }
svg .candidate { stroke: var(--candidate); } svg .baseline { stroke: var(--baseline); }
svg .line { fill: none; stroke-width: 2; }
svg .line.baseline { stroke-dasharray: 6 3; }
svg .mark { stroke: none; }
svg .mark.candidate { fill: var(--candidate); } svg .mark.baseline { fill: var(--baseline); }
svg line.limit { stroke: var(--quiet); stroke-dasharray: 2 3; }
svg line.throttled { stroke: var(--fail); stroke-width: 2; }
svg text.throttled { fill: var(--fail); }
@media print {
  :root {
    color-scheme: light;
    --page: #ffffff; --text: #000000; --quiet: #444444; --edge: #999999; --band: #ffffff;
    --pass: #0b6b2e; --fail: #b3141d; --unclear: #875000;
    --candidate: #0b5cad; --baseline: #9a3d00;
  }
  body { padding: 0; font-size: .8rem; }
  figure, tr, li { break-inside: avoid; }
}
"""
