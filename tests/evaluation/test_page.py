"""The page holds what it is given, whatever characters there are, and needs no other file."""

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.table import Table

from hitpool.evaluation.page import write_page

PICTURE = b"\x89PNG\r\n\x1a\n not looked at"


class Reader(HTMLParser):
    """Text by element, and attributes of what has some; fails if elements are not nested."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.images: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "img"):
            self.images += [value for name, value in attrs if name == "src"]
            return
        self.links += [value for name, value in attrs if name == "href"]
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.text.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def page(tmp_path: Path) -> Reader:
    (tmp_path / "plots").mkdir()
    for name in ("a_b.png", "a_b.pdf", "c.png"):
        (tmp_path / "plots" / name).write_bytes(PICTURE)
    table = Table("number", "value", title="Test <1>", caption="sigma68: a & b")
    table.add_row("[bold]pT[/bold] < 5", "0.1", end_section=True)
    table.add_row("  more", "2")
    plots = {"Pull & residual": [tmp_path / "plots/a_b.png", tmp_path / "plots/c.png"], "Nothing": []}
    path = write_page(tmp_path / "index.html", "mine <b>", "about <it>", [table], plots, "name: '<x>'\n")
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def test_it_holds_tables_and_settings(page: Reader) -> None:
    assert page.text["h1"] == ["mine <b>"]
    assert page.text["h2"] == ["Results", "Pull & residual", "Settings"]
    assert page.text["caption"] == ["Test <1>"]
    assert page.text["th"] == ["number", "value"]
    assert page.text["td"] == ["pT < 5", "0.1", "\N{NO-BREAK SPACE}" * 4 + "more", "2"]
    assert page.text["p"] == ["about <it>", "sigma68: a & b"]
    assert page.text["pre"] == ["name: '<x>'\n"]


def test_pictures_are_inside_and_pdfs_beside_it(page: Reader) -> None:
    assert [base64.b64decode(image.partition("base64,")[2]) for image in page.images] == [PICTURE, PICTURE]
    assert page.links == ["plots/a_b.pdf"]
