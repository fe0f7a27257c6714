"""The Pad layer: a border with one value per channel, in both layouts, one and two spatial axes."""

import numpy as np
import pytest

import bncore as bn
from bncore.layers import Pad, build
from tests.helpers import central_difference

CASES = [
    pytest.param(axis, pairs, id=f"axis{axis}-{pairs}")
    for axis in (1, -1)
    for pairs in ([(1, 1), (2, 2)], [(0, 3), (1, 0)], [(0, 0), (0, 0)], [(2, 1)])
]


def make(rng, axis, pairs, dtype):
    layer = Pad(3, pairs, rng.normal(size=3), axis=axis, dtype=dtype)
    spatial = (4, 5)[: len(pairs)]
    x = rng.normal(size=(2, 3, *spatial) if axis == 1 else (2, *spatial, 3)).astype(dtype)
    return layer, x


@pytest.mark.parametrize("axis, pairs", CASES)
def test_every_border_has_its_channels_value(rng, dtype, axis, pairs):
    layer, x = make(rng, axis, pairs, dtype)
    before = x.copy()
    y = layer(x)
    channels = []
    for value, image in zip(layer.value, np.moveaxis(x, axis, 0), strict=True):
        channels.append(np.pad(image, [(0, 0), *pairs], constant_values=value))
    assert (y == np.stack(channels, axis)).all() and y.dtype == dtype and (x == before).all()


@pytest.mark.parametrize("axis, pairs", CASES)
def test_the_gradient_is_that_of_the_inner_pixels(rng, axis, pairs):
    layer, x = make(rng, axis, pairs, np.float64)
    dy = rng.normal(size=layer(x).shape)
    assert np.abs(layer.backward(dy) - central_difference(layer, x, dy)).max() < 1e-8


def test_it_is_rebuilt_from_its_configuration_and_state(rng):
    layer, x = make(rng, 1, [(1, 1), (0, 2)], np.float32)
    twin = build(layer.config())
    twin.load_state_dict(layer.state_dict())
    assert (twin(x) == layer(x)).all()
    assert repr(layer) == "Pad(3, [(1, 1), (0, 2)])"


def test_errors_name_what_is_wrong():
    with pytest.raises(TypeError, match="padding must be one pair"):
        Pad(3, 1)
    with pytest.raises(ValueError, match="padding must be integers >= 0"):
        Pad(3, [(1, -1)])
    with pytest.raises(
        ValueError, match=r"value must be a number or have shape \(3,\), got shape \(2,\)"
    ):
        Pad(3, [(1, 1)], [1.0, 2.0])
    net = bn.Sequential(Pad(3, [(1, 1)]))
    with pytest.raises(TypeError, match=r"0 Pad\(3\): x must be an array of float32, got float64"):
        net(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="x must have 3 dimensions and 3 channels along axis 1"):
        net(np.zeros((2, 4, 3), np.float32))
