"""One HTML page with the tables, plots and settings of a run; it needs no other file."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from rich.table import Table
from rich.text import Text

from hitpool.files import write_text

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 sans-serif; color: #222; max-width: 1200px; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; margin: 0.7em 0; }}
caption {{ caption-side: top; text-align: left; font-weight: bold; padding-bottom: 0.3em; }}
th, td {{ padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
tr.last td {{ border-bottom: 2px solid #888; }}
.about {{ color: #555; font-size: 0.9em; max-width: 75em; }}
.plots {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)); gap: 1em; }}
figure {{ margin: 0; }}
figure img {{ width: 100%; }}
figcaption {{ color: #555; font-size: 0.9em; text-align: center; }}
pre {{ background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 0.9em; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="about">{about}</p>
{body}
</body>
</html>
"""


def write_page(
    path: Path,
    title: str,
    about: str,
    tables: Sequence[Table],
    plots: Mapping[str, Sequence[Path]],
    settings: str | None = None,
) -> Path:
    """Writes the page.

    Args:
        path: File to write.
        title: Heading.
        about: Words below it.
        tables: Tables in their order, with their titles and captions.
        plots: PNG files by heading; a PDF beside one is linked.
        settings: Configuration as text; None for none.

    Returns:
        The path.
    """
    parts = ["<h2>Results</h2>", *map(_table, tables)]
    for heading, files in plots.items():
        if files:
            figures = (_figure(file, path.parent) for file in files)
            parts += [f"<h2>{escape(heading)}</h2>", '<div class="plots">', *figures, "</div>"]
    if settings:
        parts += ["<h2>Settings</h2>", f"<pre>{escape(settings)}</pre>"]
    write_text(path, PAGE.format(title=escape(title), about=escape(about), body="\n".join(parts)))
    return path


def _table(table: Table) -> str:
    columns = [[_plain(cell) for cell in column.cells] for column in table.columns]
    head = "".join(f"<th>{_plain(column.header)}</th>" for column in table.columns)
    rows = []
    for row, cells in zip(table.rows, zip(*columns, strict=True), strict=True):
        mark = ' class="last"' if row.end_section else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    title = f"<caption>{_plain(table.title)}</caption>" if table.title else ""
    about = f'<p class="about">{_plain(table.caption)}</p>' if table.caption else ""
    return f"<table>{title}\n<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + f"\n</tbody></table>{about}"


def _plain(cell: object) -> str:
    """A cell of a rich table without its markup, as HTML that keeps the space in front."""
    text = Text.from_markup(str(cell)).plain
    indent = len(text) - len(text.lstrip())
    return "&nbsp;" * 2 * indent + escape(text.lstrip())


def _figure(file: Path, folder: Path) -> str:
    name, content = escape(file.stem.replace("_", " ")), base64.b64encode(file.read_bytes()).decode()
    image = f'<img src="data:image/png;base64,{content}" alt="{name}">'
    pdf = file.with_suffix(".pdf")
    link = f' (<a href="{escape(os.path.relpath(pdf, folder))}">PDF</a>)' if pdf.is_file() else ""
    return f"<figure>{image}<figcaption>{name}{link}</figcaption></figure>"
