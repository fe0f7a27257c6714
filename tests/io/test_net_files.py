"""Net files: what is saved comes back, and what is not one of ours or is damaged is one clear
error.
"""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

import bncore as bn
from bncore import nets
from bncore.io.npz import FORMAT, HEADER, VERSION
from bncore.layers import (
    GELU,
    GRU,
    LSTM,
    RNN,
    AvgPool,
    BatchNorm,
    BatchRenorm,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    ImageRows,
    InstanceNorm,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool,
    Pad,
    ReLU,
    Residual,
    RMSNorm,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
)


def everything(dtype):
    """One of each layer, none with its defaults only."""
    how = {"dtype": dtype}
    norm = {"momentum": None, "eps": 1e-3, "unbiased": False, "activation": "relu"}
    return Sequential(
        Pad(2, [(1, 0), (0, 1)], [0.5, -1.0], **how),
        Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(1, 0), groups=2, bias=False, **how),
        BatchNorm(4, **norm, **how),
        Residual(Sequential(Conv2d(4, 4, 1, **how), BatchNorm(4, bias=False, frozen=True, **how)), None, None),
        Concat(Sequential(MaxPool(3, 1, 1), SiLU()), AvgPool(3, 1, 1, count_include_pad=False), LeakyReLU(0.2)),
        BatchNorm(12, affine=False, track_running_stats=False, **how),
        LayerNorm(12, axis=1, eps=1e-3, bias=False, **how),
        RMSNorm(12, axis=1, partial=0.5, bias=True, **how),
        GroupNorm(3, 12, eps=1e-3, activation="relu", **how),
        InstanceNorm(12, momentum=None, affine=True, track_running_stats=True, **how),
        BatchRenorm(12, r_max=2.0, schedule=(1, 9, 4), zero_debias=True, **how),
        BatchNorm(12, ghost_batch_size=3, zero_debias=True, **how),
        BatchNorm(12, statistics="moving", **how),
        ConvTranspose2d(12, 6, 2, 2, output_padding=1, activation="relu", **how),
        Residual(Conv2d(6, 6, 3, padding="same", **how), Conv2d(6, 6, 1, **how)),
        Concat(Sequential(GlobalAvgPool(), Sigmoid()), Sequential(GlobalMaxPool(), Tanh(), GELU("tanh"))),
        Dropout(0.3),
        Flatten(),
        ReLU(),
        Linear(12, 3, False, activation="relu", **how),
    )  # fmt: skip


@pytest.fixture
def net(rng):
    net = nets.cnn(1, 4, (4, 6), rng=1)
    net(rng.normal(size=(8, 1, 6, 6)).astype(np.float32))
    return net.eval()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.npz"


@pytest.fixture
def saved(net, path):
    bn.save(net, path, meta={"seed": 3})
    return path.read_bytes()


def same_state(a, b):
    first, second = a.state_dict(), b.state_dict()
    assert list(first) == list(second)
    return all(
        value.dtype == second[name].dtype and value.tobytes() == second[name].tobytes()
        for name, value in first.items()
    )


def sequence(dtype):
    return Sequential(
        Conv1d(2, 3, 3, padding="same", axis=-1, dtype=dtype), BatchNorm(3, axis=-1, dtype=dtype)
    )


def recurrent(dtype):
    return Sequential(
        ImageRows(axis=-1),
        LSTM(6, 4, 2, bidirectional=True, dropout=0.2, norm="batch", forget_bias=1.0, dtype=dtype),
        GRU(
            8, 3, norm="renorm", norm_options={"schedule": "paper"}, batch_first=False, dtype=dtype
        ),
        RNN(3, 5, nonlinearity="relu", bias=False, output="last", dtype=dtype),
    )


# ---- round trips


def test_these_nets_have_every_layer_there_is():
    text = json.dumps(
        [
            everything(np.float32).config(),
            sequence(np.float32).config(),
            recurrent(np.float32).config(),
        ]
    )
    kinds = [getattr(bn.layers, name) for name in bn.layers.__all__]
    kinds = [k for k in kinds if isinstance(k, type) and issubclass(k, bn.layers.Layer)]
    assert not [
        k.__name__ for k in kinds if k is not bn.layers.Layer and f'"{k.__name__}"' not in text
    ]


@pytest.mark.parametrize(
    "make, shape", [(everything, (5, 2, 8, 8)), (sequence, (5, 8, 2)), (recurrent, (5, 4, 3, 2))]
)
def test_every_layer_comes_back_to_the_bit(rng, dtype, path, make, shape):
    net = make(dtype)
    x = rng.normal(size=shape).astype(dtype)
    net(x)
    net.eval()
    bn.save(net, path)
    loaded = bn.load(path)
    assert same_state(net, loaded) and repr(loaded) == repr(net)
    assert loaded(x).tobytes() == net(x).tobytes()
    assert loaded.config() == net.config()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nets.mlp(5, 3),
        lambda: nets.resnet20(width=2),
        lambda: nets.inception_small(width=0.02),
        lambda: nets.separable(3, 5, (4, 6)),
    ],
)
def test_reference_nets_come_back(path, make):
    net = make()
    bn.save(net, path)
    assert same_state(net, bn.load(path))


def test_a_loaded_net_evaluates_and_can_go_on_training(net, path, rng):
    bn.save(net.train(), path)
    loaded = bn.load(path)
    assert net.training and not any(
        layer.training or layer.keeps for _, layer in loaded.named_layers()
    )
    x, y = rng.normal(size=(16, 1, 6, 6)).astype(np.float32), rng.integers(0, 4, 16)
    bn.fit(loaded, x, y, epochs=1, batch_size=8, optimizer=bn.SGD(lr=0.1), progress=False)
    assert not same_state(net, loaded)


def test_meta_comes_back_without_building_the_net(net, path):
    meta = {
        "data": "digits",
        "accuracy": 0.99,
        "sizes": [1, 2],
        "nested": {"none": None, "é": "ü"},
        "loss": float("inf"),
    }
    bn.save(net, path, meta=meta)
    assert bn.load_meta(path) == meta
    bn.save(net, path, force=True)
    assert bn.load_meta(path) == {}


def test_equal_nets_give_equal_bytes(net, tmp_path):
    bn.save(net, tmp_path / "a", meta={"b": 1, "a": 2})
    bn.save(net.copy(), tmp_path / "b", meta={"a": 2, "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_reads_the_arrays_by_their_state_dict_names(net, path):
    bn.save(net, path)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == {HEADER, *net.state_dict()}
        assert (archive["0.weight"] == net[0].weight).all()
        header = json.loads(archive[HEADER].tobytes())
    assert (
        header["format"] == FORMAT
        and header["version"] == VERSION
        and header["bncore"] == bn.__version__
    )


@pytest.mark.parametrize("name", ["plain", "net.npz", "with.dots.bin"])
def test_the_path_is_used_as_given(net, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bn.save(net, name)
    assert os.listdir(tmp_path) == [name]
    assert same_state(bn.load(name), bn.load(tmp_path / name))


def test_an_existing_file_is_replaced_only_by_force(net, path):
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="force"):
        bn.save(net, path)
    assert path.read_text() == "precious"
    bn.save(net, path, force=True)
    assert same_state(bn.load(path), net)


def test_a_failed_save_leaves_nothing_and_the_old_file_whole(net, saved, path):
    net[0].weight = net[0].weight.astype(np.float16)
    with pytest.raises(TypeError, match=r"0\.weight must have a dtype among .*got float16"):
        bn.save(net, path, force=True)
    assert path.read_bytes() == saved and os.listdir(path.parent) == [path.name]


def test_wrong_arguments_of_save_are_named(net, path):
    with pytest.raises(TypeError, match="net must be a Layer, got dict"):
        bn.save({}, path)
    with pytest.raises(TypeError, match="meta must be a dict, got str"):
        bn.save(net, path, meta="x")
    with pytest.raises(TypeError, match="meta must hold only what JSON can"):
        bn.save(net, path, meta={"a": np.zeros(3)})
    with pytest.raises(FileNotFoundError):
        bn.save(net, path / "nowhere" / "net.npz")
    assert not path.exists()


@bn.layers.register
class _Scale(bn.layers.Layer):
    parameter_names = ("scale",)

    def __init__(self, scale=1.0):
        self.scale = np.full(1, scale, np.float32)

    def forward(self, x):
        return self.scale * x

    def config(self):
        return {"type": "_Scale"}


def test_registered_layers_of_ones_own_come_back(path):
    bn.save(Sequential(Linear(2, 2), _Scale(3.0)), path)
    assert bn.load(path)[1].scale == 3


# ---- damage


def refused(path, match=None):
    """Both readers refuse the file with one line that names it; returns that line."""
    with pytest.raises(bn.FileFormatError, match=match) as caught:
        bn.load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and "\n" not in line and len(line) < len(str(path)) + 400
    return line


def test_a_file_cut_anywhere_is_refused(saved, path):
    cuts = {0, 1, 3, 4, 5, 30, len(saved) - 1, len(saved) - 22} | set(
        range(0, len(saved), len(saved) // 97)
    )
    for length in sorted(cuts):
        path.write_bytes(saved[:length])
        refused(path)
        with pytest.raises(bn.FileFormatError):
            bn.load_meta(path)


def test_a_flipped_bit_is_refused_or_harmless(saved, path, net):
    """Never another net, never another exception. Harmless are a few bits of zip's bookkeeping,
    such as dates.
    """
    rng = np.random.default_rng(0)
    positions = (
        set(rng.integers(0, len(saved), 400))
        | set(range(0, 200))
        | set(range(len(saved) - 300, len(saved)))
    )
    harmless = 0
    for position in sorted(positions):
        damaged = bytearray(saved)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            loaded = bn.load(path)
        except bn.FileFormatError:
            continue
        assert same_state(loaded, net)
        harmless += 1
    assert harmless < 0.25 * len(positions)


def test_bytes_missing_or_too_many_in_the_middle_are_refused(saved, path):
    middle = len(saved) // 2
    for damaged in (
        saved[:middle] + saved[middle + 7 :],
        saved[:middle] + b"\0" * 7 + saved[middle:],
    ):
        path.write_bytes(damaged)
        refused(path)


FOREIGN = {
    "an empty file": b"",
    "a pickle": pickle.dumps({"weight": [1, 2]}),
    "starts with": b"hello, world",
    "starts with ": b"\x93NUMPY\x01\x00",
}


@pytest.mark.parametrize("match, content", FOREIGN.items())
def test_foreign_files_are_refused(path, match, content):
    path.write_bytes(content)
    refused(path, match)


def test_a_folder_or_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        bn.load(tmp_path / "missing.npz")
    with pytest.raises(IsADirectoryError):
        bn.load(tmp_path)


class _Bomb:
    def __reduce__(self):
        return (os.mkdir, ("bomb",))


def test_pickled_objects_are_refused_and_never_run(net, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(path, a=np.array([_Bomb()], object))
    refused(path, "not a net written by bncore.save")
    rewrite(path, net, {"0.weight": np.array([_Bomb()], object)})
    refused(path, "entry '0.weight' holds object")
    rewrite(path, net, {HEADER: np.array([_Bomb()], object)})
    refused(path, "holds object")
    assert not os.path.exists("bomb")


def rewrite(path, net, changes, header=None, compression=zipfile.ZIP_STORED):
    """A net's file with some entries changed (None: left out), written as any zip tool would."""
    text = {
        "format": FORMAT,
        "version": VERSION,
        "bncore": "9",
        "architecture": net.config(),
        "meta": {},
    } | (header or {})
    arrays = (
        {HEADER: np.frombuffer(json.dumps(text).encode(), np.uint8)} | net.state_dict() | changes
    )
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            if array is not None:
                stream = io.BytesIO()
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=True)
                archive.writestr(f"{name}.npy", stream.getvalue())


def test_rewritten_files_of_the_same_content_are_fine(net, path):
    rewrite(path, net, {})
    assert same_state(bn.load(path), net)


@pytest.mark.parametrize("changes, match", [
    ({"0.weight": None}, "missing: 0.weight"),
    ({"extra": np.zeros(3)}, "unexpected: extra"),
    ({"0.weight": np.zeros((2, 2), np.float32)}, "0.weight: expected shape"),
    ({"0.weight": np.zeros((4, 1, 3, 3), np.float64)}, "expected float32, got float64"),
    ({"0.weight": np.zeros((4, 1, 3, 3), np.complex64)}, "holds complex64"),
    ({"0.weight": np.zeros((4, 1, 3, 3), "f4,f4")}, "holds"),
    ({"0.weight": np.asfortranarray(np.zeros((4, 1, 3, 3), np.float32))}, "Fortran"),
    ({HEADER: np.zeros(5, np.uint8)}, "corrupt"),
    ({HEADER: np.full(5, 255, np.uint8)}, "not text"),
    ({HEADER: np.frombuffer(b"[1, 2]", np.uint8)}, "does not say format"),
    ({HEADER: np.frombuffer(b"[" * 100000, np.uint8)}, "corrupt"),
])  # fmt: skip
def test_entries_that_do_not_fit_are_refused(net, path, changes, match):
    rewrite(path, net, changes)
    refused(path, match)


@pytest.mark.parametrize("header, match", [
    ({"format": "other"}, "does not say format 'bncore-net'"),
    ({"version": VERSION + 1}, f"written in format {VERSION + 1} by bncore 9, .* up to {VERSION}: upgrade bncore"),
    ({"version": 0}, "expected a format version >= 1, found 0"),
    ({"version": "1"}, "found '1'"),
    ({"architecture": None}, "has no 'architecture'"),
    ({"architecture": {"type": "os.system"}}, "no layer of type 'os.system'"),
    ({"architecture": {"type": "Linear", "in_features": -1, "out_features": 2}}, "in_features"),
    ({"architecture": {"type": "Linear", "command": "rm"}}, "Linear cannot be built"),
    ({"architecture": {"type": "Linear", "in_features": 10**9, "out_features": 10**9}}, "corrupt"),
    ({"meta": 3}, "has no 'meta'"),
])  # fmt: skip
def test_headers_that_do_not_fit_are_refused(net, path, header, match):
    rewrite(path, net, {}, header)
    refused(path, match)


def test_compressed_and_doubled_entries_are_refused(net, path):
    rewrite(path, net, {}, compression=zipfile.ZIP_DEFLATED)
    refused(path, "is compressed")
    rewrite(path, net, {})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("0.weight.npy", b"")
    refused(path, "two entries of one name")


def test_an_array_header_that_promises_too_much_allocates_nothing(net, path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
    )
    rewrite(path, net, {"0.weight": None})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("0.weight.npy", stream.getvalue())
    refused(path, "corrupt")


def test_other_zip_files_are_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    refused(path, "not a net written by bncore.save")
    np.savez(path, x=np.zeros(3))
    refused(path, "no entry '__bncore__'")
