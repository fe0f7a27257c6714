"""What a mode keeps, threads that share a net, and errors that say which layer failed and why."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from layer_cases import CASES, make

import bncore as bn


def deep_net():
    return bn.Sequential(
        bn.Linear(6, 8, rng=0),
        bn.Sequential(
            bn.BatchNorm(8),
            bn.Residual(bn.Linear(8, 8, rng=1), shortcut=bn.Sequential(bn.Linear(8, 8, rng=2), bn.BatchNorm(8))),
        ),
        bn.Concat(bn.BatchNorm(8), bn.Sequential(bn.Linear(8, 5, rng=3))),
    )  # fmt: skip


def rows(n=4, features=6):
    return np.random.default_rng(0).standard_normal((n, features), dtype=np.float32)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_keeps_nothing_and_changes_nothing(name):
    layer, x = make(name)
    layer.eval()
    before = {path: dict(child.__dict__) for path, child in layer.named_layers()}
    layer(x)
    for path, child in layer.named_layers():
        assert child._saved is None, path
        assert child.__dict__.keys() == before[path].keys(), path
        assert all(child.__dict__[k] is v for k, v in before[path].items()), path


def test_evaluation_lets_go_of_its_intermediate_arrays():
    model = deep_net().eval()
    alive = []

    class Spy(bn.layers.Layer):
        def forward(self, x):
            alive.append(weakref.ref(x))
            self.save(x)
            return x + 1

    model.insert(1, Spy().eval())
    y = model(rows())
    gc.collect()
    assert alive[0]() is None
    assert y is not None


def test_switching_to_evaluation_frees_what_training_kept():
    model = deep_net()
    model(rows())
    model.eval()
    assert all(layer._saved is None for _, layer in model.named_layers())


@pytest.mark.parametrize(
    "name", ["norm", "linear", "conv2d", "residual", "concat", "dropout", "relu"]
)
def test_backward_without_forward_says_so(name):
    layer, x = make(name)
    y = layer.eval()(x)
    with pytest.raises(RuntimeError, match="backward.. needs a forward"):
        layer.backward(np.ones_like(y))
    layer.train()(x)
    layer.backward(np.ones_like(y))
    with pytest.raises(RuntimeError, match="one each"):
        layer.backward(np.ones_like(y))


def test_threads_may_evaluate_one_net():
    model = bn.nets.resnet20(3, 10, width=4, rng=0).eval()
    batches = [
        np.random.default_rng(i).standard_normal((2, 3, 8, 8), dtype=np.float32) for i in range(24)
    ]
    alone = [model(x) for x in batches]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(model, batches))
    for a, b in zip(alone, together):
        np.testing.assert_array_equal(a, b)


def test_threads_may_train_separate_nets():
    def train(seed):
        model = bn.nets.cnn(1, 3, (4, 6), rng=seed)
        x = np.random.default_rng(seed).standard_normal((4, 1, 6, 6), dtype=np.float32)
        for _ in range(5):
            model.backward(model(x))
            model.parameters_flat[...] -= np.float32(0.01) * model.gradients_flat
        return model.state_dict()

    alone = [train(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(train, range(6)))
    for a, b in zip(alone, together):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize(
    ("path", "size", "label"),
    [
        ("0", 8, "Linear(6, 8)"),
        ("1.0", 8, "BatchNorm(8)"),
        ("1.1.main", 8, "Linear(8, 8)"),
        ("1.1.shortcut.1", 8, "BatchNorm(8)"),
        ("2.1.0", 5, "Linear(8, 5)"),
    ],
)
def test_an_error_names_the_path_and_the_layer_once(path, size, label):
    model = deep_net()
    layer = dict(model.named_layers())[path]
    layer.bias = np.zeros(size + 1, np.float32)  # now nothing fits
    with pytest.raises(ValueError) as error:
        model(rows())
    text = str(error.value)
    assert text.startswith(f"{path} {label}: ")
    assert text.count(label) == 1
    assert error.value.layer_path == path
    assert f"({size + 1},)" in text


def test_an_error_in_backward_names_the_path():
    model = deep_net()
    model(rows())
    with pytest.raises(ValueError, match=r"^2.0 BatchNorm\(8\): dy"):
        model.backward(np.ones((3, 13), np.float32))
    with pytest.raises(
        ValueError, match=r"^2 Concat\(\): dy must have 13 channels on axis 1, got \(4, 12\)"
    ):
        deep = deep_net()
        deep(rows())
        deep.backward(np.ones((4, 12), np.float32))


def test_a_wrong_dtype_stays_a_type_error_with_path():
    with pytest.raises(TypeError, match=r"^0 Linear\(6, 8\): .*float32"):
        deep_net()(rows().astype(np.float64))
    with pytest.raises(TypeError, match=r"^0 Linear\(6, 8\): .*int"):
        deep_net()(rows().astype(int))


def test_one_value_per_channel_in_training_says_where_and_what_to_do():
    model = deep_net()
    with pytest.raises(ValueError) as error:
        model(rows(1))
    text = str(error.value)
    assert text.startswith("1.0 BatchNorm(8): ")
    for part in ("(1, 8)", "larger batch", "last batch", "frozen", "renorm", "layer norm"):
        assert part in text
    model.eval()(rows(1))
    with pytest.raises(ValueError, match=r"^BatchNorm\(3\): "):
        bn.BatchNorm(3)(np.ones((1, 3), np.float32))


def test_other_exceptions_pass_untouched():
    class Odd(bn.layers.Layer):
        def forward(self, x):
            raise UnicodeEncodeError("ascii", "x", 0, 1, "no")

    with pytest.raises(UnicodeEncodeError):
        bn.Sequential(Odd())(rows())


def test_branches_and_shortcuts_that_do_not_fit_say_so():
    net = bn.Sequential(
        bn.Concat(bn.Linear(6, 2), bn.Flatten(), bn.Sequential(bn.Linear(6, 2), Grow()))
    )
    with pytest.raises(
        ValueError, match=r"^0 Concat\(\): branches must differ .* \(4, 2\), \(4, 6\), \(5, 2\)"
    ):
        net(rows())
    with pytest.raises(ValueError, match=r"^0 Residual\(\): main and shortcut must give one shape"):
        bn.Sequential(bn.Residual(bn.Linear(6, 1)))(rows())
    with pytest.raises(ValueError, match=r"^main.1 BatchNorm\(1\): residual must have shape"):
        bn.Residual(bn.Sequential(bn.Linear(6, 1), bn.BatchNorm(1)))(rows())


class Grow(bn.layers.Layer):
    def forward(self, x):
        return np.concatenate([x, x[:1]])


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: bn.BatchNorm(0), ValueError, "num_features must .*>= 1, got 0"),
        (lambda: bn.BatchNorm(3.0), TypeError, "num_features must be an integer"),
        (lambda: bn.BatchNorm(3, eps=-1e-5), ValueError, "eps must .*>= 0"),
        (lambda: bn.BatchNorm(3, eps=float("nan")), ValueError, "eps must .*finite"),
        (lambda: bn.BatchNorm(3, momentum=1.5), ValueError, "momentum must .*1.5"),
        (lambda: bn.BatchNorm(3, affine=1), TypeError, "affine must be True or False"),
        (lambda: bn.BatchNorm(3, weight=False, zero_gamma=True), ValueError, "zero_gamma"),
        (lambda: bn.BatchNorm(3, frozen=True, track_running_stats=False), ValueError, "frozen"),
        (lambda: bn.BatchNorm(3, activation="gelu"), ValueError, "activation must .*'relu'"),
        (lambda: bn.BatchNorm(3, dtype="float16"), TypeError, "dtype must be float32 or float64"),
        (lambda: bn.BatchNorm(3, dtype=None), TypeError, "dtype must be"),
        (lambda: bn.Linear(3, 0), ValueError, "out_features"),
        (lambda: bn.Linear(3, 2, rng="x"), TypeError, "rng must be a numpy Generator"),
        (lambda: bn.Linear(3, 2, init="magic"), ValueError, "init must .*he_normal.*'magic'"),
        (lambda: bn.Linear(3, 2, init=-1.0), ValueError, "init must .*>= 0"),
        (lambda: bn.Conv2d(3, 4, (3, 3, 3)), ValueError, "kernel_size must .*2 of them"),
        (lambda: bn.Conv2d(3, 4, 3, padding="valid"), ValueError, "padding must .*'same'"),
        (lambda: bn.Conv2d(3, 4, 3, 2, "same"), ValueError, "padding: 'same' needs stride 1"),
        (
            lambda: bn.Conv2d(3, 4, 3, groups=2),
            ValueError,
            "in_channels must .*multiple of groups=2",
        ),
        (lambda: bn.Conv2d(3, 4, 3, axis=2), ValueError, "axis must be one of 1, -1"),
        (lambda: bn.ConvTranspose2d(3, 4, 3, output_padding=1), ValueError, "output_padding"),
        (lambda: bn.ConvTranspose2d(3, 4, 3, padding="same"), TypeError, "padding"),
        (lambda: bn.MaxPool(0), ValueError, "kernel_size must .*>= 1"),
        (lambda: bn.Dropout(1.0), ValueError, r"p must .*\[0, 1\)"),
        (lambda: bn.Sequential(bn.ReLU(), np.tanh), TypeError, "1 must be a layer, got ufunc"),
        (lambda: bn.Concat(), ValueError, "branches must be one layer at least"),
    ],
)
def test_constructors_say_what_is_wrong(build, error, match):
    with pytest.raises(error, match=match):
        build()


def test_one_layer_cannot_stand_at_two_places():
    shared = bn.ReLU()
    with pytest.raises(ValueError, match=r"2: ReLU\(\) is the same object as 0; use a copy"):
        bn.Sequential(shared, bn.Tanh(), shared)
    inner = bn.Sequential(shared)
    with pytest.raises(ValueError, match=r"1.0: .*same object as 0"):
        bn.Sequential(bn.Residual(bn.Sequential(shared, inner)))
    model = bn.Sequential(bn.ReLU(), bn.Tanh())
    with pytest.raises(ValueError, match="same object"):
        model.append(model[0])
    assert len(model) == 2
