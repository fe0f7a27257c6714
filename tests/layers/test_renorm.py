"""BatchRenorm: its schedule, runs that are interrupted, and where it meets batch norm."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import bncore as bn
from tests.helpers import relative_error
from tests.reference import renorm as reference

F64 = np.float64


def renorm(c=3, **options):
    return bn.BatchRenorm(c, dtype=F64, **{"schedule": "constant", **options})


def limits_along(layer, steps):
    """(r_max, d_max) before each of so many steps."""
    found = []
    for _ in range(steps):
        found.append((layer.r_max_now, layer.d_max_now))
        layer.num_batches_tracked += 1
    return found


# ---- formulas


@pytest.mark.parametrize("limits", [(1.05, 0.1), (3.0, 5.0)], ids=["clipping", "free"])
def test_three_steps_follow_the_formulas(limits, rng, backend):
    r_max, d_max = limits
    layer = renorm(r_max=r_max, d_max=d_max, momentum=0.3)
    literal = reference.State(3, 0.3, 1e-5, r_max, d_max)
    for _ in range(3):
        x, dy = rng.normal(0.3, 1.5, (6, 3)), rng.standard_normal((6, 3))
        y = layer(x)
        dx = layer.backward(dy)
        expected = literal.step(x, layer.weight, layer.bias, dy, 1)
        for value, exact in zip((y, dx, layer.weight_grad, layer.bias_grad), expected):
            assert relative_error(value, exact) < 1e-10
        assert relative_error(layer.running_mean, literal.mu) < 1e-10
        assert relative_error(layer.running_std, literal.sigma) < 1e-10
    assert layer.num_batches_tracked == 3


def test_unclipped_training_is_the_evaluation_before_the_update(rng, backend):
    layer = renorm(r_max=1e6, d_max=1e6)
    layer.set_running([1.0, -2.0, 0.5], [4.0, 0.25, 1.0])
    x = rng.standard_normal((5, 3, 4))
    expected = copy.deepcopy(layer).eval()(x)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_without_correction_it_is_batch_norm_to_the_bit(activation, rng, backend, dtype):
    ours = bn.BatchRenorm(4, r_max=1.0, d_max=0.0, schedule="constant", activation=activation, dtype=dtype)  # fmt: skip
    early = bn.BatchRenorm(4, activation=activation, dtype=dtype)
    early.begin_run(100)
    theirs = bn.BatchNorm(4, momentum=0.01, activation=activation, dtype=dtype)
    for _ in range(4):
        x, dy = (rng.standard_normal((6, 4, 3)).astype(dtype) for _ in range(2))
        y, dx = theirs(x), theirs.backward(dy)
        for layer in (ours, early):
            np.testing.assert_array_equal(layer(x), y)
            np.testing.assert_array_equal(layer.backward(dy), dx)
            np.testing.assert_array_equal(layer.weight_grad, theirs.weight_grad)
            np.testing.assert_array_equal(layer.bias_grad, theirs.bias_grad)
            np.testing.assert_array_equal(layer.running_mean, theirs.running_mean)


def test_one_sample_comes_out_right_with_a_gradient_of_exactly_zero(rng, backend, dtype):
    layer = bn.BatchRenorm(3, schedule="constant", r_max=1e9, d_max=1e9, dtype=dtype)
    layer.set_running([1.0, 0.0, -1.0], [1.0, 2.0, 3.0])
    x = rng.standard_normal((1, 3)).astype(dtype)
    expected = copy.deepcopy(layer).eval()(x)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    dx = layer.backward(np.ones_like(x))
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    np.testing.assert_array_equal(layer.bias_grad, np.ones(3))
    assert np.any(layer.weight_grad)
    assert not layer.compares_samples


def test_residual_and_its_activation_are_part_of_the_pass(rng):
    block = bn.Residual(bn.Sequential(renorm()))
    x = rng.standard_normal((6, 3))
    first = copy.deepcopy(block.main[0])
    np.testing.assert_array_equal(block(x), np.maximum(first(x) + x, 0))
    assert block.backward(np.ones((6, 3))).shape == x.shape
    assert block.main.accepts_residual()


def test_frozen_statistics_are_constants(rng):
    layer = renorm(frozen=True)
    layer.set_running([1.0, 2.0, 3.0], [1.0, 4.0, 9.0])
    x = rng.standard_normal((4, 3))
    np.testing.assert_array_equal(layer(x), copy.deepcopy(layer).eval()(x))
    np.testing.assert_allclose(layer.backward(np.ones((4, 3)))[0], 1 / layer.running_std)
    assert layer.num_batches_tracked == 0


def test_masked_equals_packed_and_padding_is_not_counted(rng, backend):
    x, lengths = rng.standard_normal((3, 5, 3)), np.array([5, 1, 2])
    valid = np.arange(5) < lengths[:, None]
    masked, packed = renorm(axis=-1), renorm(axis=-1)
    for _ in range(2):
        y, rows = masked(x, mask=lengths), packed(x[valid])
        np.testing.assert_allclose(y[valid], rows, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(
            masked.backward(x)[valid], packed.backward(x[valid]), rtol=1e-11, atol=1e-12
        )
    np.testing.assert_allclose(masked.running_std, packed.running_std, rtol=1e-13)
    masked(x, mask=np.zeros((3, 5), bool))
    assert masked.num_batches_tracked == 2


def test_zero_debiased_averages(rng):
    layer = renorm(zero_debias=True)
    xs = [rng.normal(3, 2, (8, 3)) for _ in range(5)]
    for x in xs:
        layer(x)
    weights = 0.99 ** np.arange(4, -1, -1)
    std = np.array([np.sqrt(x.var(0) + 1e-5) for x in xs])
    np.testing.assert_allclose(layer.running_std, weights @ std / weights.sum(), rtol=1e-12)


# ---- the schedule


def test_fractions_of_the_run():
    layer = renorm(schedule="fractions")
    layer.begin_run(80)
    found = limits_along(layer, 100)
    assert found[:11] == [(1.0, 0.0)] * 11
    assert found[11] == pytest.approx((1 + 2 / 70, 5 / 40))
    assert found[30] == pytest.approx((1 + 2 * 20 / 70, 2.5))
    assert found[49][1] < 5.0
    assert found[50] == pytest.approx((1 + 2 * 40 / 70, 5.0))
    assert found[79][0] < 3.0
    assert found[80:] == [(3.0, 5.0)] * 20


def test_absolute_steps():
    for schedule in ("paper", (5000, 40000, 25000), [5000, 40000, 25000]):
        layer = renorm(schedule=schedule)
        layer.begin_run(10)  # does not matter here
        for step, expected in (
            (0, (1, 0)),
            (5000, (1, 0)),
            (15000, (1 + 2 * 10 / 35, 2.5)),
            (25000, (1 + 2 * 20 / 35, 5)),
            (40000, (3, 5)),
            (10**6, (3, 5)),
        ):
            layer.num_batches_tracked = step
            assert (layer.r_max_now, layer.d_max_now) == pytest.approx(expected)
    jump = renorm(schedule=(2, 2, 2))
    assert limits_along(jump, 4) == [(1.0, 0.0)] * 2 + [(3.0, 5.0)] * 2
    assert limits_along(renorm(schedule="constant"), 2) == [(3.0, 5.0)] * 2


def test_a_resumed_run_continues_its_schedule(tmp_path):
    whole = renorm(schedule="fractions")
    whole.begin_run(50)
    expected = limits_along(whole, 50)
    net = bn.Sequential(renorm(schedule="fractions"))
    net.begin_run(50)
    found = limits_along(net[0], 23)
    bn.save(net, tmp_path / "interrupted.npz")
    for told in (
        True,
        False,
    ):  # the state knows how long the run is; being told again changes nothing
        net = bn.load(tmp_path / "interrupted.npz").train()
        if told:
            net.begin_run(27)
        assert found + limits_along(net[0], 27) == expected


def test_a_resumed_run_gives_the_same_weights_to_the_bit(rng, tmp_path):
    x, y = rng.standard_normal((60, 5)), rng.integers(0, 3, 60)
    order = [rng.permutation(60)[:4] for _ in range(40)]

    def trained(net, batches):
        trainer = bn.Trainer(net, optimizer=bn.SGD(lr=0.1), total_steps=len(batches))
        for batch in batches:
            trainer.step(x[batch], y[batch])
        return net

    def fresh():
        return bn.nets.mlp(5, 3, (8, 8), norm="renorm", rng=0, dtype=F64)

    expected = trained(fresh(), order).state_dict()
    net = fresh()
    trainer = bn.Trainer(net, optimizer=bn.SGD(lr=0.1), total_steps=40)
    for batch in order[:17]:
        trainer.step(x[batch], y[batch])
    bn.save(net, tmp_path / "half.npz")
    state = trained(bn.load(tmp_path / "half.npz"), order[17:]).state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)


def test_a_fit_stopped_half_way_and_resumed_has_one_schedule(rng, tmp_path):
    """Ten epochs in one go, or five of ten, saved, and five more."""
    x, y = rng.standard_normal((32, 4)), rng.integers(0, 2, 32)

    def epoch_ends(net, epochs, stop_after=None):
        seen = []

        def note(end):
            norm = end.net[-2]
            seen.append((norm.num_batches_tracked, norm.r_max_now, norm.d_max_now))
            return end.record["epoch"] == stop_after

        bn.fit(net, x, y, epochs=epochs, batch_size=4, callbacks=[note], progress=False)
        return seen

    def fresh():
        return bn.nets.mlp(4, 2, (6,), norm="renorm", rng=0, dtype=F64)

    expected = epoch_ends(fresh(), 10)
    net = fresh()
    first = epoch_ends(net, 10, stop_after=5)
    bn.save(net, tmp_path / "five.npz")
    second = epoch_ends(bn.load(tmp_path / "five.npz"), 5)
    assert first + second == expected
    assert expected[-1][1:] == (3.0, 5.0)


def test_fit_tells_every_norm_and_takes_batches_of_one(rng):
    net = bn.nets.cnn(1, 2, (4, 4), norm="renorm", rng=0)
    x = rng.standard_normal((9, 1, 4, 4)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bn.fit(net, x, np.arange(9) % 2, epochs=2, batch_size=1, progress=False)
    norms = [layer for _, layer in net.named_layers() if isinstance(layer, bn.BatchRenorm)]
    assert [(norm.run_length, norm.num_batches_tracked) for norm in norms] == [(18, 18)] * 2
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        bn.fit(bn.nets.cnn(1, 2, (4,)), x, np.arange(9) % 2, batch_size=1, progress=False)


def test_a_run_of_unknown_length_warns_once_and_follows_the_paper(rng):
    layer, x = renorm(schedule="fractions"), rng.standard_normal((4, 3))
    layer.eval()(x)
    layer.train()
    with pytest.warns(RuntimeWarning, match="begin_run") as found:
        for _ in range(3):
            layer(x)
    assert len(found) == 1
    layer.num_batches_tracked = 15000
    assert layer.d_max_now == 2.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        renorm(schedule="paper")(x)
        renorm(schedule="constant")(x)
        renorm(schedule="fractions", frozen=True)(x)


@pytest.mark.parametrize(
    ("steps", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError)]
)
def test_the_length_of_a_run_is_a_positive_integer(steps, error):
    with pytest.raises(error, match="steps must be an integer"):
        bn.Sequential(renorm()).begin_run(steps)


# ---- state


def test_the_state_is_that_of_the_paper_and_the_run():
    layer = renorm()
    assert list(layer.state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_std",
        "num_batches_tracked",
        "run_length",
    ]


def test_states_go_both_ways_between_renorm_and_batch_norm(rng, dtype):
    ours = bn.Sequential(bn.BatchRenorm(3, schedule="paper", dtype=dtype))
    for _ in range(5):
        ours(rng.normal(2, 3, (6, 3)).astype(dtype))
    theirs = bn.Sequential(bn.BatchNorm(3, dtype=dtype))
    report = theirs.load_state_dict(ours.state_dict())
    assert report == ([], [])
    np.testing.assert_allclose(theirs[0].running_var, ours[0].running_var, rtol=1e-6)
    assert theirs[0].num_batches_tracked == 5
    x = rng.standard_normal((4, 3)).astype(dtype)
    expected = ours.eval()(x)
    np.testing.assert_allclose(theirs.eval()(x), expected, rtol=1e-5, atol=1e-6)
    back = bn.Sequential(bn.BatchRenorm(3, dtype=dtype))
    back.begin_run(7)
    assert back.load_state_dict(theirs.state_dict()) == ([], [])
    assert back[0].run_length == 7
    np.testing.assert_allclose(back.eval()(x), expected, rtol=1e-5, atol=1e-6)


def test_adapting_leaves_the_given_state_alone_and_wrong_shapes_are_told():
    state = bn.BatchNorm(3).state_dict()
    kept = dict(state)
    bn.BatchRenorm(3).load_state_dict(state)
    assert state.keys() == kept.keys()
    with pytest.raises(ValueError, match=r"running_std: expected shape \(4,\), got \(3,\)"):
        bn.BatchRenorm(4, affine=False).load_state_dict(bn.BatchNorm(3, affine=False).state_dict())
    with pytest.raises(ValueError, match="missing: running_var") as error:
        bn.BatchNorm(2, affine=False).load_state_dict({"running_mean": np.zeros(2, np.float32), "running_std": np.array(["a", "b"])})  # fmt: skip
    assert "unexpected: running_std" in str(error.value)
    with pytest.raises(ValueError, match="cast=True"):
        bn.BatchNorm(3).load_state_dict(renorm().state_dict())
    bn.BatchNorm(3).load_state_dict(renorm().state_dict(), cast=True)


def test_running_var_is_what_batch_norm_would_have():
    layer = bn.BatchRenorm(2)
    layer.set_running([1.0, 2.0], [0.0, 3.0])
    assert layer.running_var.dtype == F64
    np.testing.assert_allclose(layer.running_var, [0.0, 3.0], atol=1e-9)
    np.testing.assert_allclose(layer.running_std, np.sqrt([1e-5, 3.00001]), rtol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        layer.running_var[0] = 5
    layer.num_batches_tracked = 9
    layer.reset_running_stats()
    np.testing.assert_array_equal(layer.running_std, [1, 1])
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"schedule": (1, 3, 2)}, {"r_max": 2, "d_max": 0.5, "momentum": None, "eps": 0}, {"axis": -1, "weight": False, "activation": "relu", "frozen": True}],
    ids=str,
)  # fmt: skip
def test_config_round_trip(options):
    layer = bn.BatchRenorm(3, **options)
    twin = bn.layers.build(layer.config())
    assert type(twin) is bn.BatchRenorm
    assert twin.config() == layer.config()
    assert repr(twin) == repr(layer)


def test_text():
    layer = bn.BatchRenorm(64, schedule=(1, 3, 2), zero_debias=True)
    assert layer.brief() == "BatchRenorm(64)"
    assert layer.describe() == (
        "64, eps=1e-05, momentum=0.01 (weight of the new batch), r_max=3, d_max=5, schedule=(1, 3, 2), zero_debias=True"
    )
    assert "gradient with respect to x is exactly 0" in bn.BatchRenorm.__doc__


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: renorm(r_max=0.9), ValueError, "r_max must be a finite number >= 1, got 0.9"),
        (lambda: renorm(r_max=np.inf), ValueError, "r_max must be a finite number"),
        (lambda: renorm(d_max=-1), ValueError, "d_max must be a finite number >= 0"),
        (lambda: renorm(schedule="linear"), ValueError, "schedule must be one of .*'fractions', 'paper', 'constant'.*start, r_end, d_end"),
        (lambda: renorm(schedule=None), TypeError, "schedule must be one of"),
        (lambda: renorm(schedule=(1, 2)), ValueError, r"schedule must be three steps \(start, r_end, d_end\), got 2"),
        (lambda: renorm().set_running([0.0] * 3, [1.0, -1.0, 1.0]), ValueError, "var must be >= 0, got -1.0"),
        (lambda: renorm(schedule=(5, 4, 9)), ValueError, "start before both ends"),
        (lambda: renorm(schedule=(-1, 4, 9)), ValueError, "schedule must be integers >= 0"),
        (lambda: renorm(schedule=(0.1, 1.0, 0.5)), TypeError, "schedule must be an integer"),
        (lambda: bn.BatchRenorm(3, unbiased=True), TypeError, "unbiased"),
        (lambda: bn.Sequential(renorm())(np.ones((2, 4))), ValueError, r"0 BatchRenorm\(3\): x must have 3 channels"),
        (lambda: renorm()(np.ones((2, 3), int)), TypeError, r"BatchRenorm\(3\): x must be float32 or float64"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(build, error, match):
    with pytest.raises(error, match=match):
        build()
