#include "coordinator/report/html_report.h"

namespace hone::coordinator {

const char kReportStyle[] = R"css(
:root { color-scheme: light dark;
  --bg: #fbfbfa; --card: #ffffff; --ink: #1c1f24; --soft: #667080; --line: #e3e5e9; --grid: #eceef1; --good: #0a7d4f; --bad: #b3261e;
  --c1: #2563eb; --c2: #e8590c; --c3: #0a8f5b; --c4: #9333ea; --c5: #d6336c; --c6: #64748b; --think: #f1f4fa; --answer: #e6f6ee; }
@media (prefers-color-scheme: dark) { :root {
  --bg: #14161a; --card: #1c1f25; --ink: #e7e9ed; --soft: #98a2b3; --line: #2d323b; --grid: #262b33; --good: #4ade9b; --bad: #ff8a80;
  --c1: #7aa7ff; --c2: #ff9a5c; --c3: #45d19a; --c4: #c792ff; --c5: #ff7eb0; --c6: #a3b1c6; --think: #222833; --answer: #173328; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 28px; margin: 0; letter-spacing: -.02em; }
h2 { font-size: 19px; margin: 40px 0 12px; letter-spacing: -.01em; }
h2 small, figcaption small { color: var(--soft); font-weight: 400; font-size: 13px; margin-left: 4px; }
.sub { color: var(--soft); margin: 4px 0 0; overflow-wrap: anywhere; }
.badge { display: inline-block; border-radius: 999px; padding: 1px 10px; font-size: 13px; vertical-align: 4px; margin-left: 8px;
  border: 1px solid currentColor; color: var(--soft); }
.badge.succeeded { color: var(--good); } .badge.failed { color: var(--bad); }
.error { color: var(--bad); white-space: pre-wrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(232px, 1fr)); gap: 12px; margin-top: 24px; }
.card, figure, table, details, .pair { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 14px 16px; }
.card .name { color: var(--soft); font-size: 13px; }
.card .value { font-size: 24px; font-weight: 650; font-variant-numeric: tabular-nums; letter-spacing: -.02em; white-space: nowrap; }
.card .value i { font-style: normal; color: var(--soft); font-weight: 400; }
.card .note { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 12px; }
figure { margin: 0; padding: 12px 14px 8px; }
figcaption b { font-weight: 600; }
.legend { font-size: 12.5px; color: var(--soft); min-height: 19px; }
.key { margin-right: 14px; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 5px; vertical-align: 3px; background: currentColor; }
.key.c1::before { background: var(--c1); } .key.c2::before { background: var(--c2); } .key.c3::before { background: var(--c3); }
.key.c4::before { background: var(--c4); } .key.c5::before { background: var(--c5); } .key.c6::before { background: var(--c6); }
svg { display: block; width: 100%; height: auto; }
svg .grid { stroke: var(--grid); } svg .tick { fill: var(--soft); font-size: 12px; } svg .end { text-anchor: end; } svg .mid { text-anchor: middle; }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; } svg .raw { fill: none; stroke-width: 1; opacity: .28; }
svg .c1 { stroke: var(--c1); } svg .c2 { stroke: var(--c2); } svg .c3 { stroke: var(--c3); } svg .c4 { stroke: var(--c4); } svg .c5 { stroke: var(--c5); } svg .c6 { stroke: var(--c6); }
svg circle.dot { fill: var(--card); stroke-width: 2; } svg circle.hit { fill: transparent; stroke: none; }
.scroll { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 8px 14px; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
td.n, th.n { text-align: right; white-space: nowrap; }
td code { font-size: 12.5px; color: var(--soft); }
.bar { display: block; height: 4px; border-radius: 2px; background: var(--c1); margin-top: 3px; min-width: 1px; margin-left: auto; }
.pair { padding: 14px 16px; margin-bottom: 12px; }
.pair > p { margin: 0 0 10px; overflow-wrap: anywhere; white-space: pre-wrap; }
.pair > p b { font-weight: 500; color: var(--soft); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 16px; }
.columns h3 { margin: 0 0 6px; font-size: 13px; font-weight: 500; color: var(--soft); }
pre { margin: 0 0 6px; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.55 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.completion { border-left: 3px solid var(--line); padding-left: 10px; margin-bottom: 12px; max-height: 340px; overflow-y: auto; }
.think { background: var(--think); border-radius: 4px; padding: 1px 2px; } .answer { background: var(--answer); border-radius: 4px; padding: 1px 2px; font-weight: 600; }
.chip { display: inline-block; font-size: 12px; border-radius: 999px; padding: 0 9px; margin: 0 4px 4px 0; border: 1px solid var(--line); color: var(--soft); cursor: help; }
.chip.full { color: var(--good); border-color: currentColor; } .chip.none { color: var(--bad); border-color: currentColor; }
details { padding: 12px 16px; margin-top: 12px; } summary { cursor: pointer; font-weight: 500; } details pre { margin-top: 10px; }
footer { color: var(--soft); font-size: 13px; margin-top: 40px; }
)css";

}  // namespace hone::coordinator
