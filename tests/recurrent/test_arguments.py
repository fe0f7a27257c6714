"""Bad arguments of recurrences and recurrent layers are named, with what was expected and what came."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F
from tests.recurrent.cases import arrays, run

LENGTHS = np.array([2, 3])
F32 = np.float32


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"products": np.ones((5, 12), int)}, TypeError, "products must be float32 or float64"),
        ({"products": [[1.0]]}, TypeError, "products must be a NumPy array"),
        ({"products": np.ones((5, 10))}, ValueError, r"products must have shape \(m, 4·units\) for kind 'lstm'"),
        ({"products": np.ones((5, 0))}, ValueError, r"products must have shape \(m, 4·units\)"),
        ({"products": np.ones(12)}, ValueError, r"products must have shape \(m, 4·units\)"),
        ({"weight": np.ones((12, 4))}, ValueError, r"weight must have shape \(12, 3\), got \(12, 4\)"),
        ({"weight": np.ones((12, 3), F32)}, TypeError, "weight must have dtype float64"),
        ({"bias": np.ones(3)}, ValueError, r"bias must have shape \(12,\)"),
        ({"state": np.ones((2, 3))}, TypeError, r"state must be a pair \(h, c\) for an LSTM, got ndarray"),
        ({"state": (np.ones((2, 3)),) * 3}, TypeError, r"state must be a pair \(h, c\)"),
        ({"state": (np.ones((2, 3)), np.ones((3, 3)))}, ValueError, r"state\[1\] must have shape \(2, 3\)"),
    ],
)  # fmt: skip
def test_bad_arrays_are_named(changed, error, message, backend):
    with pytest.raises(error, match=message):
        run(arrays("lstm", LENGTHS, 3)._replace(**changed), "lstm", LENGTHS)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([2, 2], ValueError, "lengths must add up to the 5 rows of products, got 4"),
        ([6, -1], ValueError, "lengths must be from 0 to 5, got -1"),
        ([2.0, 3.0], TypeError, "lengths must be an array of integers, got float64"),
        (5, TypeError, "lengths must be an array of integers, got int"),
        (np.ones((1, 5), int), ValueError, r"lengths must have shape \(n,\), got \(1, 5\)"),
        (np.array([2**63 - 1, 2**63 - 1, 7]), ValueError, "lengths must be from 0 to 5, got 9"),
    ],
)
def test_bad_lengths_are_named(lengths, error, message, backend):
    with pytest.raises(error, match=message):
        run(arrays("gru", LENGTHS, 3)._replace(state=None), "gru", lengths)


def test_other_bad_arguments_are_named(backend):
    a = arrays("gru", LENGTHS, 3)
    with pytest.raises(ValueError, match="kind must be one of"):
        run(a, "elman", LENGTHS)
    with pytest.raises(ValueError, match=r"out must have shape \(5, 3\)"):
        run(a, "gru", LENGTHS, out=np.empty((5, 4)))
    with pytest.raises(TypeError, match="out must have dtype float64"):
        run(a, "gru", LENGTHS, out=np.empty((5, 3), F32))
    with pytest.raises(ValueError, match="out must be C-contiguous"):
        run(a, "gru", LENGTHS, out=np.empty((3, 5)).T)
    with pytest.raises(ValueError, match="out must not overlap an input"):
        run(a, "gru", LENGTHS, out=a.products[:, :3])
    fixed = np.empty((5, 3))
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        run(a, "gru", LENGTHS, out=fixed)


def test_bad_gradients_are_named(backend):
    a = arrays("gru", LENGTHS, 3)
    y, _, saved = run(a, "gru", LENGTHS)
    with pytest.raises(ValueError, match=r"dy must have shape \(5, 3\), got \(5, 2\)"):
        F.recurrent_backward(np.ones((5, 2)), saved)
    with pytest.raises(TypeError, match="dy must have dtype float64"):
        F.recurrent_backward(a.dy.astype(F32), saved)
    with pytest.raises(ValueError, match=r"dstate must have shape \(2, 3\)"):
        F.recurrent_backward(a.dy, saved, dstate=np.ones((3, 3)))
    with pytest.raises(ValueError, match="dweight must have shape"):
        F.recurrent_backward(a.dy, saved, dweight=np.ones((3, 9)))
    with pytest.raises(ValueError, match="dweight must not overlap an input"):
        F.recurrent_backward(a.dy, saved, dweight=a.weight)
    memory = np.empty((9, 3))
    with pytest.raises(ValueError, match="dbias must not overlap"):
        F.recurrent_backward(a.dy, saved, dweight=memory, dbias=memory.reshape(-1)[:9])
    plain = run(a._replace(bias=None), "gru", LENGTHS)[2]
    with pytest.raises(ValueError, match="dbias must be None"):
        F.recurrent_backward(a.dy, plain, dbias=np.empty(9))
    del y


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_layers": 0}, ValueError, "num_layers"),
        ({"bidirectional": 1}, TypeError, "bidirectional"),
        ({"dropout": 1.0}, ValueError, "dropout"),
        ({"norm": "group"}, ValueError, "norm must be one of"),
        ({"norm": "batch", "norm_options": {"axis": 1}}, ValueError, "norm_options must not have 'axis'"),
        ({"norm": "batch", "norm_options": {"beta": 1}}, TypeError, "norm_options: .*'beta'"),
        ({"norm": "batch", "norm_options": [1]}, TypeError, "norm_options must be a mapping"),
        ({"norm_options": {"eps": 1e-3}}, ValueError, "norm_options must be empty without a norm"),
        ({"norm": "none", "norm_options": {"eps": 1}}, ValueError, "norm_options must be empty without a norm"),
        ({"output": "first"}, ValueError, "output must be one of"),
        ({"dtype": np.float16}, TypeError, "dtype must be float32 or float64"),
        ({"forget_bias": np.inf}, ValueError, "forget_bias"),
        ({"forget_bias": 1.0, "bias": False}, ValueError, "forget_bias must be None without biases"),
    ],
)  # fmt: skip
def test_bad_layers_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        bn.LSTM(3, 4, **options)


@pytest.mark.parametrize("kind", [bn.RNN, bn.GRU, bn.LSTM])
class TestOptionsOfEveryKind:
    def test_dropout_between_the_layers_of_a_single_one_warns(self, kind):
        with pytest.warns(
            UserWarning, match=r"dropout=0\.5 does nothing with num_layers=1"
        ) as said:
            kind(3, 4, dropout=0.5)
        assert said[0].filename == __file__

    @pytest.mark.filterwarnings("error")
    def test_dropout_between_two_layers_or_in_a_whole_net_does_not(self, kind):
        kind(3, 4, 2, dropout=0.5)
        bn.nets.recurrent(3, 2, kind=kind.__name__.lower(), dropout=0.5)

    def test_norm_none_by_name_is_none(self, kind):
        named, plain = kind(3, 4, norm="none", rng=1), kind(3, 4, rng=1)
        assert named.norm is None and named.config() == plain.config()
        assert named.state_dict().keys() == plain.state_dict().keys()

    def test_help_names_every_parameter(self, kind):
        told = kind.__doc__.split("Parameters\n    ----------\n")[1].split("Attributes\n")[0]
        for name in list(inspect.signature(kind).parameters):
            assert re.search(rf"^    (\w+, )*{name}(, \w+)* :", told, re.MULTILINE), name


def test_what_does_not_fit_a_layer_is_named():
    layer = bn.LSTM(3, 4, 2, dtype=np.float64)
    x = np.ones((2, 5, 3))
    with pytest.raises(ValueError, match=r"x must have shape \(N, L, 3\), got \(2, 5, 4\)"):
        layer(np.ones((2, 5, 4)))
    with pytest.raises(ValueError, match=r"x must have shape \(L, N, 3\), got \(2, 3\)"):
        bn.RNN(3, 4, batch_first=False)(np.ones((2, 3)))
    with pytest.raises(TypeError, match="x must be an array"):
        layer([[[1.0, 2.0, 3.0]]])
    with pytest.raises(TypeError, match="dtype"):
        layer(x.astype(F32))
    with pytest.raises(ValueError, match=r"lengths must have shape \(2,\), got \(3,\)"):
        layer(x, [1, 2, 3])
    with pytest.raises(ValueError, match="lengths must be from 0 to 5, got 6"):
        layer(x, [1, 6])
    with pytest.raises(ValueError, match=r"state must have shape \(2, 2, 4\), got \(1, 2, 4\)"):
        layer(x, None, (np.ones((1, 2, 4)), np.ones((1, 2, 4))))
    with pytest.raises(TypeError, match=r"state must be a pair \(h, c\)"):
        layer(x, None, np.ones((2, 2, 4)))
    with pytest.raises(TypeError, match="state must hold arrays"):
        bn.GRU(3, 4)(x.astype(F32), None, "zeros")
    layer(x)
    with pytest.raises(ValueError, match=r"dy must be an array of shape \(2, 5, 4\), got \(2, 4\)"):
        layer.backward(np.ones((2, 4)))
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(np.ones((2, 5, 4)))


def test_errors_carry_the_path_of_the_norm_inside():
    net = bn.Sequential(bn.ReLU(), bn.GRU(3, 4, 2, norm="batch"))
    with pytest.raises(ValueError, match=r"1\.norm_l0 BatchNorm\(12\): ") as caught:
        net(np.ones((1, 1, 3), F32))
    assert caught.value.layer_path == "1.norm_l0"


def test_a_config_that_does_not_fit_is_refused():
    config = bn.LSTM(3, 4, norm="batch").config()
    config["norms"] = {"norm_l7": config["norms"]["norm_l0"]}
    with pytest.raises(ValueError, match="has no norm 'norm_l7'"):
        bn.layers.build(config)
