"""By which names people put a norm behind a linear operation. Names only: whether the shapes fit is pairs.py's question.

Three rules, and a table of families whose numbering follows none of them. To add a convention, add a word or a row.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

__all__ = ["Guess", "LinearNames", "is_norm_name", "pool_of", "sounds_transposed"]

# A word stands between dots, underscores, digits and ends, may be plural and may say its number of axes
_WORD = r"(?<![a-z]){}s?(?:[123]d)?(?![a-z])"
_NORM = re.compile(
    _WORD.format("(?:batch_?norm(?:alization)?|normali[sz]ation|bnorm|bn|norm)"), re.IGNORECASE
)
_LINEAR = re.compile(
    _WORD.format(
        "(?:conv(?:olution)?(?:_?transposed?)?|deconv|convt|tconv|upconv|fc|linear|lin|dense|proj)"
    )
    + r"|(?<![^.])c(?![^.])",
    re.IGNORECASE,
)
_TRANSPOSED = re.compile(r"deconv|transpose|convt|tconv|(?<![a-z])up", re.IGNORECASE)

# linear operations that are there together, and which of them each norm beside them follows; the first that fits counts
_FAMILIES: tuple[tuple[set[str], dict[str, str]], ...] = (
    ({"conv_pw", "conv_dw", "conv_pwl"}, {"bn1": "conv_pw", "bn2": "conv_dw", "bn3": "conv_pwl"}),
    ({"conv_exp", "conv_pwl"}, {"bn1": "conv_exp", "bn2": "conv_pwl"}),
    ({"conv_dw", "conv_pw"}, {"bn1": "conv_dw", "bn2": "conv_pw"}),
    ({"conv_stem", "conv_head"}, {"bn1": "conv_stem", "bn2": "conv_head"}),
    ({"conv_stem"}, {"bn1": "conv_stem"}),
    (
        {"_expand_conv", "_depthwise_conv", "_project_conv"},
        {"_bn0": "_expand_conv", "_bn1": "_depthwise_conv", "_bn2": "_project_conv"},
    ),
    ({"_depthwise_conv", "_project_conv"}, {"_bn1": "_depthwise_conv", "_bn2": "_project_conv"}),
    ({"_conv_stem", "_conv_head"}, {"_bn0": "_conv_stem", "_bn1": "_conv_head"}),
)


class Guess(NamedTuple):
    """A linear operation that a norm goes with by name; `follows`: the name also says that the norm comes after."""

    linear: str
    follows: bool


class LinearNames:
    """The names of all linear operations, to be asked about norms.

    Parameters
    ----------
    paths : collection of str
    """

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = paths
        self._marked: dict[str, list[str]] = {}
        for path in paths:
            for marked in _marked(path, _LINEAR):
                self._marked.setdefault(marked, []).append(path)

    def beside(self, norm: str) -> list[Guess]:
        """The linear operations that a norm may belong to, each once."""
        by_family = self._by_family(norm)
        if by_family:
            return by_family
        found: dict[str, Guess] = {}
        for guess in (*_in_a_row(norm), *_named_after(norm), *self._same_but_for_the_word(norm)):
            if guess.linear in self._paths:
                found.setdefault(guess.linear, guess)
        return list(found.values())

    def _same_but_for_the_word(self, norm: str) -> Iterator[Guess]:
        """``conv1`` and ``bn1``, ``convolution`` and ``normalization``, ``convs.0`` and ``bns.0``."""
        for marked in _marked(norm, _NORM):
            yield from (Guess(linear, False) for linear in self._marked.get(marked, []))

    def _by_family(self, norm: str) -> list[Guess]:
        parent, dot, own = norm.rpartition(".")
        for together, follows in _FAMILIES:
            if own in follows and all(f"{parent}{dot}{name}" in self._paths for name in together):
                return [Guess(f"{parent}{dot}{follows[own]}", True)]
        return []


def is_norm_name(path: str) -> bool:
    """Whether a module's own name calls it a norm."""
    return _NORM.search(path.rpartition(".")[2]) is not None or path.lower().endswith("norm")


def sounds_transposed(path: str) -> bool:
    """Whether a name speaks of transposed convolutions, or of going up, where these are found."""
    return _TRANSPOSED.search(path) is not None


def pool_of(path: str) -> str:
    """The kind of block a module is in: its parent's path without numbers. Blocks of one kind are built alike."""
    return re.sub(r"\d+", "#", path.rpartition(".")[0])


def _in_a_row(norm: str) -> Iterator[Guess]:
    """In a Sequential: ``0`` and ``1``, ``downsample.0`` and ``downsample.1``. A gap is something else in between."""
    parent, dot, own = norm.rpartition(".")
    if own.isdecimal() and int(own) > 0:
        yield Guess(f"{parent}{dot}{int(own) - 1}", True)


def _named_after(norm: str) -> Iterator[Guess]:
    """The norm's name contains the operation's: ``conv1_bn``, ``bn_conv1``, ``conv1.norm``."""
    parent, dot, own = norm.rpartition(".")
    for match in _NORM.finditer(own):
        rest = (own[: match.start()] + own[match.end() :]).strip("_")
        if not rest:
            yield Guess(parent, True)
        elif not rest.isdecimal():
            yield Guess(f"{parent}{dot}{rest}", True)


def _marked(path: str, words: re.Pattern[str]) -> Iterator[str]:
    """The path with one of the words replaced by a star, in all ways."""
    for match in words.finditer(path):
        yield f"{path[: match.start()]}*{path[match.end() :]}"
