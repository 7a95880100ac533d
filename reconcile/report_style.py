"""How the report looks: one style sheet, for the screen and for paper. Nothing is fetched."""

STYLE = """
:root { --ink: #1b1f27; --soft: #667085; --line: #e4e7ec; --paper: #fff; --ground: #f6f7f9;
  --danger: #c4320a; --warning: #b7791f; --info: #2b6cb0; --ok: #1e7f4f; --over: #d9480f;
  --under: #2f6fb5; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 56px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 16px; margin: 0 0 12px; }
p { margin: 0 0 8px; max-width: 80ch; }
.soft { color: var(--soft); }
.mono { font-family: ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", monospace;
  font-size: 12px; overflow-wrap: anywhere; }
header { display: flex; justify-content: space-between; gap: 24px; align-items: flex-start;
  margin-bottom: 24px; }
.verdict { padding: 6px 14px; border-radius: 999px; font-weight: 600; white-space: nowrap; }
.verdict.ok { background: #dff3e7; color: var(--ok); }
.verdict.bad { background: #fde8e0; color: var(--danger); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px;
  padding: 20px; margin-bottom: 20px; break-inside: avoid-page; }
section.long { break-inside: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 14px;
  margin-bottom: 20px; }
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: 12px;
  padding: 16px 18px; }
.tile .name { color: var(--soft); font-size: 12px; }
.tile .number { font-size: 22px; font-weight: 650; margin: 2px 0;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 20px; }
.pair section { margin: 0; } .pair { margin-bottom: 20px; }
.chart { width: 100%; height: auto; display: block; }
.chart text { font-size: 13px; fill: var(--ink); }
.chart .label { text-anchor: end; } .chart .amount { fill: var(--soft);
  font-variant-numeric: tabular-nums; }
.chart .axis { stroke: #98a2b3; stroke-width: 1; }
.bar.over { fill: var(--over); } .bar.under { fill: var(--under); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: 12px;
  border-bottom: 1px solid var(--line); padding: 6px 10px 6px 0; white-space: nowrap; }
td { border-bottom: 1px solid var(--line); padding: 7px 10px 7px 0; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
td.id { overflow-wrap: anywhere; min-width: 110px; }
td.reason { min-width: 260px; }
.tag { display: inline-block; padding: 1px 8px; border-radius: 999px; font-size: 12px;
  font-weight: 600; white-space: nowrap; background: #eef1f5; color: var(--soft); }
.tag.danger { background: #fde8e0; color: var(--danger); }
.tag.warning { background: #fdf1d8; color: var(--warning); }
.tag.info { background: #e3eefa; color: var(--info); }
tr.tolerated td { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; color: var(--soft); }
@media print { body { background: #fff; } main { padding: 0; max-width: none; }
  section, .tile { border-color: #ccc; } }
"""
