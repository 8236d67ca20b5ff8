"""How the slip and the page look: the colours and sizes are those of the kiosk's design."""

STYLE = """
:root { color-scheme: light dark; --floor: light-dark(#E8EDEF, #0B1418);
  --panel: light-dark(#FFFFFF, #142126); --ink: light-dark(#0F2329, #EAF1F3);
  --ink-2: light-dark(#475B62, #AABCC2); --line: light-dark(#D4DDE0, #2A3C43);
  --act: light-dark(#0B5A75, #7FC9E4); --on-act: light-dark(#FFFFFF, #04202B); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--floor); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 640px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 32px 0 12px; }
h3 { font-size: 16px; margin: 0 0 8px; }
p { margin: 0; }
section, .card, figure { background: var(--panel); border: 1px solid var(--line);
  border-radius: 10px; padding: 16px; margin: 0 0 12px; }
.card { display: grid; gap: 2px; }
.card dt { color: var(--ink-2); font-size: 14px; }
.card dd { margin: 0 0 10px; font-size: 20px; }
.card dd:last-child { margin-bottom: 0; }
.note { color: var(--ink-2); font-size: 14px; margin: 0 0 16px; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; user-select: all; }
ol, ul { margin: 0; padding-left: 20px; }
li + li { margin-top: 6px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 6px 0; border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; }
th { font-weight: 400; color: var(--ink-2); padding-right: 16px; width: 42%; }
a { color: var(--act); }
a.button { display: block; background: var(--act); color: var(--on-act); text-align: center;
  text-decoration: none; font-weight: 600; border-radius: 10px; padding: 12px 16px;
  margin: 0 0 12px; }
a:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px; }
figure { display: flex; gap: 16px; align-items: center; }
figure svg { flex: none; width: 168px; height: 168px; border-radius: 6px; }
figcaption { font-size: 14px; color: var(--ink-2); }
@media (max-width: 420px) { figure { flex-direction: column; align-items: flex-start; } }
@page { size: A5; margin: 10mm; }
@media print {
  :root { color-scheme: light; }
  body { background: none; font-size: 9pt; line-height: 1.3; }
  main { max-width: none; padding: 0; }
  section, .card, figure { break-inside: avoid; padding: 6px 12px; margin-bottom: 6px; }
  .card { grid-template-columns: max-content 1fr; column-gap: 16px; align-items: baseline; }
  .card dt, .note, figcaption { font-size: 8.5pt; }
  .card dd { font-size: 12pt; margin: 0; }
  figure svg { width: 38mm; height: 38mm; }
  h1 { font-size: 15pt; margin-bottom: 6px; }
  h3 { font-size: 10pt; margin-bottom: 2px; }
  th, td { padding: 1px 0; }
  .note { margin-bottom: 6px; }
}
"""
"""One style sheet for both; on paper it fits an A5 page."""
