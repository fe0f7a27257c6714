"""Reports as one HTML page that needs nothing else: pictures are inside it, no script, no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from .draw import spread, svg
from .outcome import Criterion, Report, Table
from .pictures import Picture

__all__ = ["page"]

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto; padding: 1rem; max-width: 62rem; }
h1 { line-height: 1.2; } h2 { margin: 3rem 0 0.3rem; line-height: 1.25; }
a { color: #005a8c; } .quiet { color: #555; font-size: 0.9rem; }
.question { font-size: 1.1rem; margin: 0.2rem 0 0.6rem; }
.conclusion { border-left: 4px solid #0072B2; padding: 0.2rem 0 0.2rem 0.8rem; }
.failed .conclusion { border-color: #D55E00; }
.wide { overflow-x: auto; }
figure { margin: 1rem 0; } figure img { width: 100%; height: auto; max-width: 42rem; display: block; }
table { border-collapse: collapse; font-size: 0.9rem; margin: 0.6rem 0; font-variant-numeric: tabular-nums; }
table.data td { white-space: nowrap; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.2rem; }
th, td { padding: 0.2rem 0.7rem 0.2rem 0; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top; }
ul.criteria { list-style: none; padding: 0; } ul.criteria li { padding-left: 1.6rem; text-indent: -1.6rem; }
.mark { display: inline-block; width: 1.6rem; text-indent: 0; font-weight: 700; }
li.failed { color: #a33c00; font-weight: 600; }
@media print {
  h2, h2 + p { break-after: avoid; } figure, table { break-inside: avoid; }
  .wide { overflow: visible; } table.data td { white-space: normal; }
}
"""


def page(reports: Sequence[Report], *, pictures: bool = True, planned: int | None = None) -> str:
    """The page, as text.

    Parameters
    ----------
    reports : sequence of Report
    pictures : bool
        False leaves them out, where there is no matplotlib.
    planned : int, optional
        How many reports there were to be; the page says so if some are missing.

    Raises
    ------
    ImportError
        If pictures are wanted without matplotlib, naming the extra ``plot``.
    """
    met = sum(report.passed for report in reports)
    head = f"{met} of {len(reports)} experiments met all their criteria."
    missing = "" if pictures else " Pictures need matplotlib: install bncore[plot]."
    if planned is not None and planned > len(reports):
        missing += f" The run ended early: {planned - len(reports)} of {planned} were not finished."
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>What batch norm does</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            "<h1>What batch norm does</h1>",
            f"<p>{head}{missing}</p>",
            f'<p class="quiet">{html.escape(_conditions(reports))}</p>',
            _contents(reports),
            *[_section(report, pictures) for report in reports],
            "</body>\n</html>\n",
        ]
    )


def _conditions(reports: Sequence[Report]) -> str:
    if not reports:
        return ""
    first = reports[0]
    where = first.environment
    isa = f" ({where['isa']})" if where.get("isa") else ""
    quick = ", quick settings" if first.quick else ""
    seconds = sum(report.seconds for report in reports)
    alike = len({report.seeds for report in reports}) == 1
    seeds = f"seeds {', '.join(map(str, first.seeds))}" if alike else "seeds of each below"
    return (
        f"bncore {where.get('version')}, {where.get('backend')} backend{isa}, "
        f"{where.get('threads')} threads, {seeds}{quick}; {seconds:.0f} s"
    )


def _contents(reports: Sequence[Report]) -> str:
    rows = [
        f'<tr><td><a href="#{report.name}">{report.name}</a></td><td>{html.escape(report.question)}</td>'
        f"<td>{'met' if report.passed else '<b>not met</b>'}</td></tr>"
        for report in reports
    ]
    head = "<tr><th>experiment</th><th>question</th><th>criteria</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _section(report: Report, pictures: bool) -> str:
    outcome = report.outcome
    state = "" if report.passed else ' class="failed"'
    parts = [
        f'<section id="{report.name}"{state}>\n<h2>{report.name}</h2>',
        f'<p class="question">{html.escape(report.question)}</p>',
        f'<p class="conclusion">{html.escape(outcome.conclusion)}</p>',
        f'<ul class="criteria">{"".join(map(_criterion, outcome.criteria))}</ul>',
        *([_figure(picture) for picture in outcome.pictures] if pictures else ()),
        *[_table(table) for table in outcome.tables],
        *[f"<p>{html.escape(remark)}</p>" for remark in outcome.remarks],
        f'<p class="quiet">{html.escape(report.conditions)}</p>',
        "</section>",
    ]
    return "\n".join(parts)


def _criterion(criterion: Criterion) -> str:
    sign, state = ("✓", "met") if criterion.passed else ("✗", "failed")
    text = html.escape(str(criterion))
    return f'<li class="{state}"><span class="mark" title="{state}">{sign}</span>{text}</li>'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(svg(picture).encode()).decode()
    words = html.escape(f"{picture.describe()}; {spread(picture)}")
    return f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{words}"></figure>'


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table.cells()
    )
    caption = f"<caption>{html.escape(table.title)}</caption>"
    return f'<div class="wide"><table class="data">{caption}<tr>{head}</tr>{rows}</table></div>'
