"""The page: whole, readable from disk without a network, escaped, honest about what was not met."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from bncore import lab

pytest.importorskip("matplotlib")


class Tags(HTMLParser):
    """Names, attributes and text of a page; fails on tags that do not match."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.fixture
def source(toys) -> str:
    return lab.page([lab.run(name, 2, progress=False) for name in toys])


def test_everything_is_on_the_page(source):
    words = Tags(source).words
    for part in ("1 of 2 experiments met", "Is toy_good so?", "With <norm> the figure is 90.0 %.", "90 ≥ 95 %", "batch & more", "A remark.", "Toys.", "seeds 0, 1"):  # fmt: skip
        assert part in words, part
    assert words.count("✓") == 1 and words.count("✗") == 1


def test_pictures_are_in_the_page_and_nothing_is_fetched(source):
    tags = Tags(source)
    images = [attributes for tag, attributes in tags.found if tag == "img"]
    assert len(images) == 6
    assert all(i["src"].startswith("data:image/svg+xml;base64,") and i["alt"] for i in images)
    assert not {tag for tag, _ in tags.found} & {"script", "link", "iframe", "object"}
    links = [a["href"] for tag, a in tags.found if tag == "a"]
    names = [a["id"] for tag, a in tags.found if tag == "section"]
    assert links == ["#" + name for name in names]
    assert not re.search(r"url\(|@import", source)


def test_phones_get_their_own_width(source):
    tags = Tags(source)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags.found  # fmt: skip
    assert "overflow-x: auto" in source and "width: 100%" in source


def test_seeds_are_those_of_each_experiment(toys):
    words = Tags(lab.page([lab.run(toys[0], [i], progress=False) for i in (3, 5)])).words
    assert "seeds of each below" in words and "Seeds 3;" in words and "Seeds 5;" in words


def test_without_pictures_the_tables_still_come(toys):
    source = lab.page([lab.run(toys[0], 1, progress=False)], pictures=False)
    words = Tags(source).words
    assert "<img" not in source and "bncore[plot]" in words and "batch & more" in words
