"""fit learns, repeats itself to the bit, makes no tiny batch and always leaves a usable net."""

import numpy as np
import pytest

import bncore as bn

from .nets import small_cnn, small_mlp


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return bn.data.load("digits")


@pytest.fixture
def blobs():
    """Three classes of points in five dimensions, 100 samples, float64."""
    rng = np.random.default_rng(3)
    y = np.arange(100) % 3
    return rng.normal(size=(100, 5)) + 2.0 * rng.normal(size=(3, 5))[y], y


def state_equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def quick(net, x, y, **options):
    """A fit of a few epochs without display."""
    defaults = {"optimizer": bn.SGD(0.1, 0.9), "epochs": 5, "batch_size": 32, "progress": False}
    return bn.fit(net, x, y, **{**defaults, **options})


class Sizes(bn.layers.Layer):
    """Passes x on and writes down how many samples came in training."""

    def __init__(self):
        self.seen = []

    def forward(self, x):
        if self.training:
            self.seen.append(len(x))
        return x

    def backward(self, dy):
        return dy


# ---- learning ----


def test_digits_are_learnt(digits, backend):
    net = small_cnn()
    history = quick(
        net,
        digits.x_train,
        digits.y_train,
        epochs=6,
        schedule="one_cycle",
        validation=(digits.x_test, digits.y_test),
    )
    assert history["val_accuracy"][-1] > 0.93
    assert history["loss"][-1] < 0.3 < history["loss"][0]
    assert bn.evaluate(net, digits.x_test, digits.y_test)["accuracy"] == pytest.approx(
        history["val_accuracy"][-1]
    )


def test_regression_is_learnt():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    y = x[:, 0] - 0.5 * x[:, 1]  # (n,) for a prediction (n, 1)
    history = quick(
        small_mlp(5, 1), x, y, loss="mse", optimizer=bn.AdamW(0.02), epochs=30, validation=0.25
    )
    assert history["val_loss"][-1] < 0.1
    assert "accuracy" not in history.columns()
    assert "val_accuracy" not in history.columns()


def test_two_classes_with_one_logit(blobs):
    x, y = blobs
    history = quick(
        small_mlp(5, 1), x, (y == 1).astype(np.int64), loss="bce_with_logits", epochs=20
    )
    assert history["accuracy"][-1] > 0.9


def test_a_loss_of_ones_own(blobs):
    x, y = blobs

    def squared(pred, target):
        difference = pred - np.eye(3)[target]
        return (difference**2).mean(), 2 * difference / difference.size

    history = quick(small_mlp(), x, y, loss=squared, epochs=20, optimizer=bn.SGD(0.5, 0.9))
    assert history["loss"][-1] < 0.1


# ---- the same seed, the same bits ----


def run(digits, seed, **options):
    net = small_cnn(dropout=0.2)
    n = 300
    history = quick(
        net,
        digits.x_train[:n],
        digits.y_train[:n],
        epochs=2,
        seed=seed,
        validation=0.2,
        augment="shift",
        **options,
    )
    return net.state_dict(), history["loss"]


def test_a_seed_repeats_a_fit_to_the_bit(digits):
    (first, losses), (second, again), (other, _) = (run(digits, seed) for seed in (1, 1, 2))
    assert losses == again
    assert state_equal(first, second)
    assert not state_equal(first, other)


def test_the_number_of_threads_changes_no_bit(digits, native):
    results = [run(digits, 1, threads=threads)[0] for threads in (1, 2, 3)]
    assert state_equal(results[0], results[1])
    assert state_equal(results[0], results[2])


def test_no_seed_means_a_new_run(digits):
    assert not state_equal(run(digits, None)[0], run(digits, None)[0])


# ---- batches ----


def test_the_tail_is_shared_out_over_all_batches(blobs):
    x, y = blobs
    sizes = Sizes()
    quick(bn.Sequential(sizes, *small_mlp().layers), x[:67], y[:67], epochs=3)
    assert sorted(sizes.seen) == [22] * 6 + [23] * 3


def test_a_norm_is_never_given_one_sample(blobs):
    x, y = blobs
    sizes = Sizes()
    quick(bn.Sequential(sizes, *small_mlp().layers), x[:3], y[:3], batch_size=2, epochs=2)
    assert sizes.seen == [3, 3]
    with pytest.raises(ValueError, match="batch_size must be at least 2, got 1"):
        quick(small_mlp(), x, y, batch_size=1)
    with pytest.raises(ValueError, match="x must hold at least 2 samples, got 1"):
        quick(small_mlp(), x[:1], y[:1])


def test_without_a_norm_any_batch_will_do(blobs):
    x, y = blobs
    net = bn.Sequential(bn.Linear(5, 3, dtype="float64", rng=0))
    assert len(quick(net, x[:7], y[:7], batch_size=1, epochs=1)) == 1
    frozen = bn.Sequential(
        bn.BatchNorm(5, frozen=True, dtype="float64"), bn.Linear(5, 3, dtype="float64", rng=0)
    )
    assert len(quick(frozen, x[:7], y[:7], batch_size=1, epochs=1)) == 1


# ---- early stopping and other ends ----


def states_by_epoch(kept):
    def keep(end):
        kept[end.record["epoch"]] = end.net.state_dict()

    return keep


def test_early_stopping_restores_weights_and_buffers_to_the_bit(blobs):
    x, y = blobs
    kept, net = {}, small_mlp()
    history = quick(
        net,
        x,
        np.random.default_rng(0).permutation(y),  # nothing to learn: validation soon gets worse
        epochs=100,
        validation=0.3,
        early_stopping=3,
        callbacks=[states_by_epoch(kept)],
    )
    losses = history["val_loss"]
    assert history.stopped == "early stopping"
    assert len(history) < 100
    assert history.best_epoch == int(np.argmin(losses)) + 1 == len(history) - 3
    assert state_equal(net.state_dict(), kept[history.best_epoch])
    assert not state_equal(net.state_dict(), kept[len(history)])
    assert any(name.endswith("running_var") for name in kept[1])


def test_small_improvements_do_not_count_below_min_delta(blobs):
    x, y = blobs
    history = quick(small_mlp(), x, y, epochs=50, validation=0.3, early_stopping=2, min_delta=10.0)
    assert (len(history), history.best_epoch) == (3, 1)


def test_early_stopping_can_watch_another_column(blobs):
    x, y = blobs
    stopping = bn.EarlyStopping(2, monitor="val_accuracy")
    history = quick(small_mlp(), x, y, epochs=30, validation=0.3, early_stopping=stopping)
    assert history.best_epoch == int(np.argmax(history["val_accuracy"])) + 1
    with pytest.raises(ValueError, match="monitor"):
        quick(small_mlp(), x, y, early_stopping=bn.EarlyStopping(2, monitor="lossy"))


def test_ctrl_c_gives_the_net_back_at_its_best(blobs):
    x, y = blobs
    kept, net = {}, small_mlp()

    def interrupt(end):
        if end.record["epoch"] == 4:
            raise KeyboardInterrupt

    history = quick(
        net,
        x,
        y,
        epochs=50,
        validation=0.3,
        early_stopping=30,
        callbacks=[states_by_epoch(kept), interrupt],
    )
    assert history.stopped == "interrupted"
    assert len(history) == 4
    assert state_equal(net.state_dict(), kept[history.best_epoch])
    assert not net.training
    assert net.input_gradient
    assert len(quick(net, x, y, epochs=1)) == 1  # and may go on


def test_ctrl_c_in_the_middle_of_an_epoch(blobs):
    x, y = blobs

    class Interrupting(Sizes):
        def forward(self, x):
            if len(self.seen) == 5:
                self.seen.clear()
                raise KeyboardInterrupt
            return super().forward(x)

    net = bn.Sequential(Interrupting(), *small_mlp().layers)
    history = quick(net, x, y, epochs=9)
    assert history.stopped == "interrupted"
    assert len(history) == 1
    assert np.isfinite(bn.predict(net, x)).all()


def test_a_loss_that_is_not_finite_says_where_and_what_to_try(blobs):
    x, y = blobs
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError) as caught:
        quick(
            bn.Sequential(bn.Linear(5, 3, dtype="float64", rng=0)),
            1e200 * x,
            y.astype(np.float64)[:, None] * np.ones(3),
            loss="mse",
            optimizer=bn.SGD(1e30),
        )
    message = str(caught.value)
    for word in (
        "epoch 1: the loss is inf at step 1 (lr 1e+30)",
        "lower lr",
        "warm_up",
        "clip_norm",
    ):
        assert word in message


def test_nan_in_the_data_is_blamed_on_the_data(blobs):
    x, y = blobs
    x[7, 2] = np.nan
    with pytest.raises(FloatingPointError, match=r"epoch 1: the loss is nan.*batch of x holds NaN"):
        quick(small_mlp(), x, y)


def test_divergence_with_early_stopping_gives_the_best_net_back(blobs):
    x, y = blobs
    kept, net = {}, small_mlp()

    def poison(end):
        if end.record["epoch"] == 3:
            end.net.parameters_flat[:] = np.nan

    with pytest.raises(FloatingPointError, match="epoch 4"):
        quick(
            net, x, y, validation=0.3, early_stopping=10, callbacks=[states_by_epoch(kept), poison]
        )
    assert any(state_equal(net.state_dict(), state) for state in kept.values())
    assert not net.training


def test_a_callback_ends_the_fit_and_adds_to_the_history(blobs):
    x, y = blobs

    def watch(end):
        end.record["norm"] = float(np.abs(end.net.parameters_flat).max())
        return end.record["epoch"] == 2

    history = quick(small_mlp(), x, y, callbacks=[watch])
    assert history.stopped == "callback"
    assert len(history["norm"]) == 2


# ---- what goes in ----


def test_inputs_are_not_written_to_and_may_be_read_only(digits):
    x, y = digits.x_train[:64].copy(), digits.y_train[:64].copy()
    x.flags.writeable = y.flags.writeable = False
    quick(small_cnn(), x, y, epochs=1, augment="shift", validation=0.25)


def test_the_schedule_spans_the_whole_fit(blobs):
    x, y = blobs
    seen = []

    def spy(step, total):
        seen.append((step, total))
        return 0.5

    history = quick(small_mlp(), x, y, epochs=3, schedule=spy)
    assert history["lr"] == [0.05] * 3
    assert history["steps"] == [4, 8, 12]
    assert {total for _, total in seen} == {12}
    assert max(step for step, _ in seen) == 11


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"x": [[1.0]]}, TypeError, "x must be a NumPy array"),
        (
            {"x": np.ones((100, 5), int)},
            TypeError,
            r"x must be float32 or float64, got int64; .*astype",
        ),
        (
            {"y": np.zeros(7, int)},
            ValueError,
            "y must have as many targets as x has samples, got 7 for 100",
        ),
        ({"x": np.ones((0, 5)), "y": np.zeros(0, int)}, ValueError, "at least one sample"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"seed": -1}, ValueError, "seed"),
        ({"threads": 0}, ValueError, "threads"),
        ({"validation": 1.5}, ValueError, "validation must .*1.5"),
        ({"validation": (np.ones((4, 5)),)}, ValueError, "validation must .*1 items"),
        ({"validation": (np.ones((4, 5)), np.zeros(3, int))}, ValueError, "yv"),
        ({"early_stopping": 3}, ValueError, "early_stopping needs validation"),
        ({"early_stopping": 0, "validation": 0.2}, ValueError, "early_stopping"),
        ({"loss": "hinge"}, ValueError, "loss must be one of cross_entropy"),
        ({"loss": bn.MSE}, TypeError, "loss"),
        ({"optimizer": "lion"}, ValueError, "optimizer must be one of sgd"),
        ({"optimizer": bn.SGD}, TypeError, "optimizer"),
        ({"schedule": "linear"}, ValueError, "schedule"),
        ({"augment": "flip"}, ValueError, "augment"),
        ({"augment": "shift"}, ValueError, "rank 4"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm"),
        ({"callbacks": [3]}, TypeError, "callbacks must hold callables, got 3"),
    ],
)
def test_bad_arguments_are_named(blobs, change, error, match):
    x, y = change.pop("x", blobs[0]), change.pop("y", blobs[1])
    with pytest.raises(error, match=match):
        quick(small_mlp(), x, y, **change)


def test_progress_goes_to_stderr_and_can_be_off(blobs, capsys):
    x, y = blobs
    quick(small_mlp(), x, y, epochs=2, validation=0.2, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "8/8" not in out
    assert "val_accuracy" in err.splitlines()[-1]
    quick(small_mlp(), x, y)
    assert capsys.readouterr() == ("", "")
