"""How the report's page looks: on a phone and on a desk, light and dark, on paper."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --text: #1c2128; --soft: #57606a; --ground: #ffffff; --panel: #f6f8fa; --line: #d0d7de; --link: #0757b8;
  --green: #14703a; --amber: #8f5600; --red: #b3202a; --grey: #57606a; --shade: rgba(0, 0, 0, .35);
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6edf3; --soft: #9da7b1; --ground: #0d1117; --panel: #161b22; --line: #30363d; --link: #6cb0ff;
    --green: #57c785; --amber: #e3b341; --red: #ff8a80; --grey: #9da7b1; --shade: rgba(255, 255, 255, .35);
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 4rem;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--text); background: var(--ground); overflow-wrap: anywhere;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 .6rem; }
h3 { font-size: 1rem; line-height: 1.35; margin: 0 0 .4rem; }
p { margin: 0 0 .7rem; }
a { color: var(--link); }
.lead { color: var(--soft); max-width: 46rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 0 0 1.6rem; padding: 0; }
section { margin: 0 0 2.6rem; }
.answers { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.answers article {
  background: var(--panel); border: 1px solid var(--line); border-left: .4rem solid var(--grey); border-radius: .5rem;
  padding: .9rem 1rem;
}
.answers article p:last-child { margin: 0; }
.answers .green { border-left-color: var(--green); }
.answers .amber { border-left-color: var(--amber); }
.answers .red { border-left-color: var(--red); }
.light { display: inline-flex; align-items: center; gap: .45rem; font-weight: 650; margin: 0 0 .35rem; }
.light svg { width: 1.35rem; height: 1.35rem; flex: none; fill: currentColor; }
.light.green { color: var(--green); }
.light.amber { color: var(--amber); }
.light.red { color: var(--red); }
.light.grey { color: var(--grey); }
.family { border-top: 1px solid var(--line); padding-top: 1.6rem; }
.answer { max-width: 46rem; }
.notes { color: var(--soft); padding-left: 1.2rem; max-width: 46rem; }
.notes li { margin-bottom: .3rem; }
.table {
  overflow-x: auto; margin: 0 0 1.2rem;
  background:
    linear-gradient(to right, var(--ground) 30%, transparent) left / 2.5rem 100% local,
    linear-gradient(to left, var(--ground) 30%, transparent) right / 2.5rem 100% local,
    linear-gradient(to right, var(--shade), transparent) left / .9rem 100% scroll,
    linear-gradient(to left, var(--shade), transparent) right / .9rem 100% scroll;
  background-repeat: no-repeat;
}
.table:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.hint, .zoom { color: var(--soft); font-size: .9rem; }
.hint { display: none; margin: 0 0 .2rem; }
.hint.always { display: block; }
.hint::after { content: " \\2194"; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; font-weight: 650; padding: 0 0 .35rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(100%, calc(100vw - 2rem)); }
th, td { text-align: left; vertical-align: top; padding: .32rem .8rem .32rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
thead th { border-bottom: 2px solid var(--line); color: var(--soft); }
td.number { text-align: right; white-space: nowrap; }
thead th.number { text-align: right; }
td.long, td code, details th, details td { overflow-wrap: anywhere; }
.pairs { width: 100%; }
.pairs th { width: 11rem; padding-right: 1rem; }
.pairs thead th:not(:first-child) { width: auto; }
.note { color: var(--soft); font-size: .9rem; margin: -.6rem 0 1.2rem; max-width: 46rem; }
figure { margin: 0 0 1.4rem; max-width: 58rem; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: .3rem; }
.picture { margin: 0; }
.picture img { cursor: zoom-in; }
.picture:focus img { max-width: none; width: max(100%, 75rem); cursor: zoom-out; }
figcaption { margin-top: .4rem; font-size: .9rem; color: var(--soft); max-width: 46rem; }
figcaption b { color: var(--text); }
details { margin: 0 0 1rem; }
summary { cursor: pointer; color: var(--link); margin-bottom: .5rem; }
code, pre { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre {
  white-space: pre-wrap; background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .7rem;
}
footer { border-top: 1px solid var(--line); padding-top: 1rem; color: var(--soft); font-size: .9rem; }
@media (max-width: 30rem) {
  h1 { font-size: 1.4rem; }
  body { padding: 1rem .6rem 3rem; }
  .hint { display: block; }
  .picture img { max-width: none; width: max(100%, 38rem); }
  .rows th:first-child, .rows td:first-child {
    position: sticky; left: 0; background: var(--ground); min-width: 6.5rem; max-width: 9.5rem; overflow-wrap: anywhere;
  }
  .rows td:not(.number) { min-width: 5.5rem; }
  .pairs, .pairs tbody, .pairs tr, .pairs th, .pairs td { display: block; width: auto; }
  .pairs thead, .pairs td.none { display: none; }
  .pairs th { border: 0; padding-bottom: 0; }
  .pairs td { overflow-wrap: anywhere; }
  .pairs td[data-of]::before { content: attr(data-of) ": "; color: var(--soft); }
}
@page { size: A4; margin: 15mm 14mm; }
@media print {
  :root {
    --text: #000000; --soft: #3d444d; --ground: #ffffff; --panel: #ffffff; --line: #b6bec7; --link: #000000;
    --green: #14703a; --amber: #8f5600; --red: #b3202a; --grey: #57606a;
  }
  html { font-size: 9.5pt; }
  body { max-width: none; padding: 0; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  nav, details, .more, .hint, .hint.always, .zoom { display: none; }
  a { text-decoration: none; }
  .answers { grid-template-columns: 1fr 1fr; }
  .family { break-before: page; border: 0; padding: 0; }
  h2, h3, caption, .light { break-after: avoid; }
  tr, figure, article, pre { break-inside: avoid; }
  thead { display: table-header-group; }
  .table { overflow: visible; background: none; }
  table { font-size: 8pt; }
  .wide { font-size: 7pt; }
  th, td { padding-right: .7em; }
  td:not(.number), tbody th { overflow-wrap: anywhere; }
  figure img { max-width: min(100%, 150mm); max-height: 120mm; width: auto; }
}
"""
