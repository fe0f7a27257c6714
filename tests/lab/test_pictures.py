"""Every picture has its title, its axes with units and its seeds; nothing depends on colour alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bncore.lab.draw import STYLES, draw, save, svg
from bncore.lab.pictures import Axis, Dots, Lines, Series

from .conftest import dots, lines, maps

pytest.importorskip("matplotlib")

X = Axis("what", None)


def texts(figure) -> str:
    from matplotlib.text import Text

    return "\n".join(found.get_text() for found in figure.findobj(Text))


@pytest.mark.parametrize("make", [lines, dots, maps])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_picture_says_what_it_shows(make, seeds):
    picture = make(seeds)
    said = texts(draw(picture))
    assert picture.title in said
    assert str(picture.x) in said and str(picture.y) in said
    assert ("one seed" if seeds == 1 else "3 seeds") in said
    assert picture.seeds() == seeds


def test_what_is_computed_names_no_seeds():
    picture = Lines("Exact", Axis("x"), Axis("y"), [Series("s", [1, 2], [3, 4])], exact=True)
    said = texts(draw(picture))
    assert "nothing left to chance" in said and "seed" not in said


def test_axes_have_units():
    assert str(Axis("accuracy", "%")) == "accuracy [%]"
    assert str(Axis("learning rate")) == "learning rate [pure number]"
    assert str(Axis("activation", None)) == "activation"


@pytest.mark.parametrize(("high", "shown"), [(1.0, "0.02"), (1e4, "10^{2}")])
def test_a_narrow_logarithmic_axis_has_plain_numbers(high, shown):
    series = [Series("s", [1, 2], [[0.015, high]])]
    figure = draw(Lines("t", Axis("a"), Axis("b", log=True), series))
    figure.draw_without_rendering()
    assert any(shown in t.get_text() for t in figure.axes[0].get_yticklabels())


def test_a_long_upright_label_takes_two_lines():
    axis = Axis("variance in evaluation over that in training")
    figure = draw(Lines("t", Axis("a"), axis, [Series("s", [1, 2], [[1, 2]])]))
    assert figure.axes[0].get_ylabel() == f"{axis.label}\n[pure number]"


def test_series_differ_in_more_than_colour():
    looks = [(marker, line) for _, marker, line in STYLES]
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("kind", [Lines, Dots])
def test_no_series_is_left_out(kind):
    series = [Series(str(i), ["a", "b"], [i, i]) for i in range(len(STYLES) + 1)]
    assert len(draw(kind("t", X, X, series[:-1])).axes[0].get_legend().texts) == len(STYLES)
    with pytest.raises(ValueError, match="t: 8 series, 7 at most"):
        draw(kind("t", X, X, series))


def test_the_band_goes_from_the_least_to_the_largest_seed():
    axes = draw(lines(3)).axes[0]
    (band,) = axes.collections
    y = band.get_paths()[0].vertices[:, 1]
    assert (y.min(), y.max()) == (90.0, 98.0)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [93, 94, 95])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["2", "8", "32"]


def test_dots_show_every_seed_and_their_mean():
    axes = draw(dots(3)).axes[0]
    assert sorted(axes.lines[0].get_ydata()) == [90, 91, 92, 93, 94, 95]
    means = [segment[0, 1] for segment in axes.collections[0].get_segments()]
    assert means == [92, 93]


def test_cells_of_heat_maps_hold_their_numbers():
    said = texts(draw(maps(3)))
    assert "35\n0–71" in said
    assert "100" in texts(draw(maps(1)))


def test_a_point_without_a_value_is_a_gap():
    gap = Lines("t", Axis("a"), Axis("b"), [Series("s", [1, 2], [[1, np.nan], [2, np.nan]])])
    assert np.isnan(draw(gap).axes[0].lines[0].get_ydata()[1])


@pytest.mark.parametrize("log", [False, True])
def test_a_line_to_infinity_leaves_the_picture(log):
    axis = Axis("loss", log=log, limits=(1, 100))
    figure = draw(Lines("t", Axis("a"), axis, [Series("s", [1, 2, 3], [[2, 1e300, np.inf]])]))
    y = figure.axes[0].lines[0].get_ydata()
    assert y[0] == 2 and (y[1:] > 100).all() and np.isfinite(y).all()


def test_a_logarithmic_axis_without_values_is_drawn():
    nothing = Lines("t", Axis("a"), Axis("b", log=True), [Series("s", [1, 2], [[np.nan, np.nan]])])
    assert svg(nothing).startswith("<?xml")


@pytest.mark.parametrize("make", [lines, dots, maps])
def test_a_picture_is_described_in_words(make):
    picture = make(3)
    for part in (picture.title, str(picture.x), str(picture.y)):
        assert part in picture.describe()


def test_the_same_picture_is_the_same_file(tmp_path):
    assert svg(maps(2)) == svg(maps(2))
    save(lines(2), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert not re.search(r"<dc:date>", svg(lines(1)))


def test_without_matplotlib_the_extra_is_named():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from tests.lab.conftest import lines\nfrom bncore.lab.draw import draw\n"
        "try: draw(lines(1))\nexcept ImportError as error: print(error)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert "bncore[plot]" in done.stdout
