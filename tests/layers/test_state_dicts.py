"""State dicts: complete, copied, loaded all or nothing, and errors that list everything at once."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn


def net(dtype=np.float32, rng=0):
    return bn.Sequential(
        bn.Linear(3, 4, bias=False, dtype=dtype, rng=rng),
        bn.BatchNorm(4, dtype=dtype, activation="relu"),
        bn.Residual(bn.Linear(4, 4, dtype=dtype, rng=rng)),
    )


NAMES = [
    "0.weight",
    "1.weight",
    "1.bias",
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
    "2.main.weight",
    "2.main.bias",
]


def test_names_and_order_are_pytorchs():
    assert list(net().state_dict()) == NAMES
    assert next(iter(net().state_dict(prefix="body."))) == "body.0.weight"


def test_the_counter_is_an_int64_without_dimensions():
    model = net()
    for _ in range(3):
        model(np.random.default_rng(0).standard_normal((5, 3), dtype=np.float32))
    counter = model.state_dict()["1.num_batches_tracked"]
    assert counter.dtype == np.int64
    assert counter.shape == ()
    assert counter == 3


def test_state_is_a_copy_both_ways():
    model = net()
    state = model.state_dict()
    state["0.weight"][...] = 7
    assert not np.any(model[0].weight == 7)
    model.load_state_dict(state)
    state["0.weight"][...] = 8
    assert np.all(model[0].weight == 7)


def test_absent_norm_arrays_are_absent_from_the_state():
    assert list(bn.BatchNorm(3, weight=False).state_dict()) == [
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    assert list(bn.BatchNorm(3, affine=False, track_running_stats=False).state_dict()) == []
    assert list(bn.Linear(2, 2, bias=False).state_dict()) == ["weight"]


def test_one_error_lists_all_that_is_missing_unexpected_or_of_wrong_shape():
    model = net()
    state = model.state_dict()
    del state["1.bias"], state["2.main.weight"]
    state["3.weight"] = np.zeros(2, np.float32)
    state["0.weight"] = np.zeros((4, 5), np.float32)
    state["1.running_var"] = np.zeros(4, np.complex64)
    with pytest.raises(ValueError) as error:
        model.load_state_dict(state)
    text = str(error.value)
    for part in (
        "missing: 1.bias",
        "missing: 2.main.weight",
        "unexpected: 3.weight",
        "0.weight: expected shape (4, 3), got (4, 5)",
        "1.running_var: expected float32, got complex64",
        "nothing was loaded",
    ):
        assert part in text


def test_after_an_error_nothing_has_changed():
    model = net()
    before = model.state_dict()
    state = net(rng=9).state_dict()
    state["2.main.bias"] = np.zeros(5, np.float32)
    for strict in (True, False):
        with pytest.raises(ValueError, match="2.main.bias"):
            model.load_state_dict(state, strict=strict)
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_not_strict_loads_what_fits_and_reports_the_rest():
    model = net()
    report = model.load_state_dict(
        {"0.weight": np.ones((4, 3), np.float32), "x": np.ones(1)}, strict=False
    )
    assert np.all(model[0].weight == 1)
    assert report.unexpected == ["x"]
    assert report.missing == [n for n in NAMES[1:] if not n.endswith("tracked")]


def test_old_checkpoints_without_a_counter_load():
    model = net()
    state = {k: v for k, v in net(rng=2).state_dict().items() if "tracked" not in k}
    model[1].num_batches_tracked = 5
    report = model.load_state_dict(state)
    assert report.missing == []
    assert model[1].num_batches_tracked == 5


@pytest.mark.parametrize("counter", [np.int64(4), 4, np.array([4], np.int32), np.float32(4)])
def test_the_counter_comes_as_any_whole_number(counter):
    layer = bn.BatchNorm(2)
    layer.load_state_dict({**layer.state_dict(), "num_batches_tracked": counter})
    assert layer.num_batches_tracked == 4
    assert type(layer.num_batches_tracked) is int


@pytest.mark.parametrize("counter", [-1, 2.5, np.nan, np.inf, np.zeros(2), "3"])
def test_a_senseless_counter_is_refused(counter):
    layer = bn.BatchNorm(2)
    with pytest.raises(ValueError, match="num_batches_tracked: expected"):
        layer.load_state_dict({**layer.state_dict(), "num_batches_tracked": counter})


def test_float32_loads_into_float64_exactly():
    model = net(np.float64)
    state = net(rng=3).state_dict()
    model.load_state_dict(state)
    assert model[0].weight.dtype == np.float64
    np.testing.assert_array_equal(model[0].weight, state["0.weight"])


def test_float64_loads_into_float32_only_when_told_to():
    model = net()
    state = net(np.float64, rng=3).state_dict()
    with pytest.raises(ValueError, match="0.weight: expected float32, got float64; cast=True"):
        model.load_state_dict(state)
    model.load_state_dict(state, cast=True)
    np.testing.assert_array_equal(model[0].weight, state["0.weight"].astype(np.float32))
    state["0.weight"][0, 0] = 1e300
    with pytest.raises(ValueError, match="0.weight: finite float64 values would become infinite"):
        model.load_state_dict(state, cast=True)


def test_foreign_byte_order_and_strides_load():
    model = net()
    state = net(rng=3).state_dict()
    swapped = {
        k: v.astype(v.dtype.newbyteorder()) if v.dtype.kind == "f" else v for k, v in state.items()
    }
    swapped["0.weight"] = np.asfortranarray(state["0.weight"])
    model.load_state_dict(swapped)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
        assert value.dtype.isnative


@pytest.mark.parametrize("given", [np.float16(1), np.ones((4, 3), int), np.array([[None]]), "abc"])
def test_other_types_are_refused(given):
    model = net()
    with pytest.raises(ValueError, match="0.weight: expected"):
        model.load_state_dict({**model.state_dict(), "0.weight": given})


def test_a_state_that_is_no_mapping_is_a_type_error():
    with pytest.raises(TypeError, match="state must be a mapping"):
        net().load_state_dict([1, 2])
