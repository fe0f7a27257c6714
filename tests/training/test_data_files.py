"""Data files: good ones load, compressed or not; bad ones give one clear line."""

import gzip
import pickle
import struct
import zipfile

import numpy as np
import pytest

import bncore as bn


def refused(path, *words, **options):
    """Loading ``path`` fails with one line that starts with it and holds all words."""
    with pytest.raises(bn.FileFormatError) as caught:
        bn.data.load(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path)) or str(path.parent) in message
    assert "\n" not in message
    for word in words:
        assert word in message, message


# ---- .npz ----


def test_npz_with_x_and_y_is_split_by_class(tmp_path):
    y = np.repeat(["ham", "spam"], 20)
    np.savez(
        tmp_path / "d.npz",
        x=np.arange(80, dtype=np.int16).reshape(40, 2),
        y=y,
        feature_names=["a", "b"],
    )
    data = bn.data.load(tmp_path / "d.npz")
    assert data.task == "classification"
    assert data.classes == ("ham", "spam")
    assert data.feature_names == ("a", "b")
    assert data.x_train.dtype == np.float32
    assert data.x_train.shape == (32, 2)
    assert np.bincount(data.y_test).tolist() == [4, 4]
    assert (data.outputs, data.shape) == (2, (2,))


def test_npz_keeps_its_own_test_part(tmp_path):
    x, xt = np.random.default_rng(0).normal(size=(2, 30, 4))
    np.savez_compressed(
        tmp_path / "d.npz", x_train=x, y_train=x[:, 0], x_test=xt[:5], y_test=xt[:5, 0]
    )
    data = bn.data.load(tmp_path / "d.npz", dtype="float64")
    assert data.task == "regression"
    assert data.y_train.shape == (30, 1)
    assert data.outputs == 1
    assert np.array_equal(data.x_train, x)
    assert np.array_equal(data.x_test, xt[:5])


def test_bad_npz_files(tmp_path):
    path = tmp_path / "d.npz"
    good = tmp_path / "good.npz"
    np.savez_compressed(good, x=np.random.default_rng(0).normal(size=(50, 9)), y=np.arange(50) % 2)
    whole = good.read_bytes()
    for content in (
        b"",
        b"hello",
        whole[: len(whole) // 2],
        whole[:90] + b"\xff" * 40 + whole[130:],
    ):
        path.write_bytes(content)
        refused(path)
    np.savez(path, a=np.zeros(3))
    refused(path, "expected arrays x and y", "found a")
    np.savez(path, x=np.zeros((3, 2)), y=np.zeros(4))
    refused(path, "3 samples", "4")
    np.savez(path, x=np.array([[0.0, np.nan]] * 4), y=np.arange(4.0))
    refused(path, "nan", "finite")
    np.savez(path, x=np.array([["a", "b"]] * 4), y=np.arange(4.0))
    refused(path, "numeric")
    np.savez(path, x=np.ones((4, 2)), y=np.zeros(4, int))
    refused(path, "at least 2 classes")
    np.savez(path, x=np.ones((4, 2)), y=np.array([0, 1, 0, 7]), classes=["a", "b"])
    refused(path, "classes 0 to 1", "7")
    np.savez(path, x=np.ones((4, 0)), y=np.arange(4))
    refused(path, "at least one feature")
    np.savez(path, x=np.float32(3), y=np.arange(4))
    refused(path, "without dimensions")


class Evil:
    def __reduce__(self):
        return (open, ("owned", "w"))


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "d.npz", x=np.array([[Evil()]] * 3), y=np.arange(3))
    refused(tmp_path / "d.npz", "never unpickled")
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Evil()))
    refused(tmp_path / "p.npz")
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    refused(tmp_path / "a.npz", ".npy")
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")
        archive.writestr("y.npy", b"no array")
    refused(tmp_path / "z.npz")
    assert not (tmp_path / "owned").exists()


# ---- .csv ----

TABLE = "width,kind,height\n" + "".join(f"{i},{'ab'[i % 2]},{i / 2}\n" for i in range(20))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("target", ["kind", 1, -2, "1"])
def test_csv_with_text_classes(tmp_path, suffix, target):
    path = tmp_path / ("t" + suffix)
    path.write_bytes(gzip.compress(TABLE.encode()) if suffix == ".csv.gz" else TABLE.encode())
    if target == "1":  # as it comes from a command line
        target = "1"
    data = bn.data.load(path, target=target)
    assert data.classes == ("a", "b")
    assert data.feature_names == ("width", "height")
    assert data.task == "classification"
    both = np.concatenate([data.x_train, data.x_test])
    assert np.array_equal(np.sort(both[:, 0]), np.arange(20))
    assert np.array_equal(both[:, 1], both[:, 0] / 2)
    assert np.array_equal(data.y_train, data.x_train[:, 0].astype(int) % 2)


def test_csv_without_header_and_with_other_delimiters(tmp_path):
    for delimiter in ",;\t":
        rows = [delimiter.join(map(str, (i, i + 0.5, 3 * i))) for i in range(30)]
        (tmp_path / "t.csv").write_text("\n".join(rows) + "\n\n")
        data = bn.data.load(tmp_path / "t.csv", target=-1)
        assert data.task == "regression"
        assert data.feature_names == ()
        assert len(data.x_train) + len(data.x_test) == 30
        assert np.array_equal(data.y_train[:, 0], 3 * data.x_train[:, 0])


def test_whole_numbers_are_classes_unless_told_otherwise(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{i % 3 + 4}\n" for i in range(30)))
    assert bn.data.load(tmp_path / "t.csv", "y").classes == ("4", "5", "6")
    assert bn.data.load(tmp_path / "t.csv", "y", task="regression").outputs == 1


def test_quotes_bom_and_windows_lines(tmp_path):
    (tmp_path / "t.csv").write_bytes(
        ('\ufeff"a, b",y\r\n' + "".join(f'"{i}","c{i % 2}"\r\n' for i in range(8))).encode()
    )
    data = bn.data.load(tmp_path / "t.csv", "y")
    assert data.feature_names == ("a, b",)
    assert data.classes == ("c0", "c1")


def test_bad_cells_are_named_by_line_and_column(tmp_path):
    path = tmp_path / "t.csv"

    def table(line_4):
        path.write_text("a,b,y\n1,2,x\n3,4,z\n" + line_4 + "\n5,6,x\n")
        return path

    refused(table("7,,x"), "line 4, column 'b'", "missing", target="y")
    refused(table("NA,8,x"), "line 4, column 'a'", "missing value 'NA'", target="y")
    refused(table("7,eight,x"), "line 4, column 'b'", "'eight'", target="y")
    refused(table("7,inf,x"), "line 4, column 'b'", "finite", target="y")
    refused(table("7,nan,x"), "line 4, column 'b'", "missing", target="y")
    refused(table("7,8,"), "line 4, column 'y'", "missing", target="y")
    refused(table("7,8"), "line 4", "3 cells", "2", target="y")


def test_bad_csv_files(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("")
    refused(path, "empty", target="y")
    path.write_text("a,y\n")
    refused(path, "no rows", target="y")
    path.write_text("y\n1\n2\n")
    refused(path, "feature columns", target="y")
    path.write_bytes(b"a,y\n\xff\xfe,1\n")
    refused(path, "UTF-8", target="y")
    path.write_text('a,y\n"1,2\n')
    refused(path, "line", target="y")
    packed = tmp_path / "t.csv.gz"
    whole = gzip.compress(TABLE.encode())
    for content in (TABLE.encode(), whole[:40], whole[:20] + b"\x00" * 20 + whole[40:]):
        packed.write_bytes(content)
        refused(packed, "gzip", target="kind")


def test_a_missing_or_wrong_target_lists_the_columns(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    for target in (None, "colour"):
        with pytest.raises(ValueError, match="width, kind, height"):
            bn.data.load(tmp_path / "t.csv", target)
    with pytest.raises(ValueError, match="position from -3 to 2"):
        bn.data.load(tmp_path / "t.csv", 3)


# ---- IDX ----


def idx_bytes(array):
    return (
        struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def write(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture(params=["", ".gz"], ids=["plain", "gz"])
def mnist(tmp_path, request):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 40), ("t10k", 10)):
        arrays[part] = rng.integers(0, 256, (n, 6, 5)), np.arange(n) % 4
        write(tmp_path / f"{part}-images-idx3-ubyte{request.param}", idx_bytes(arrays[part][0]))
        write(tmp_path / f"{part}-labels-idx1-ubyte{request.param}", idx_bytes(arrays[part][1]))
    return tmp_path, request.param, arrays


def test_idx_folder(mnist):
    folder, _, arrays = mnist
    data = bn.data.load(folder)
    assert data.shape == (1, 6, 5)
    assert data.classes == ("0", "1", "2", "3")
    assert data.x_train.dtype == np.float32
    assert np.array_equal(data.x_train[:, 0], arrays["train"][0])
    assert np.array_equal(data.y_test, arrays["t10k"][1])


def test_idx_image_file_finds_its_labels(mnist):
    folder, suffix, _ = mnist
    data = bn.data.load(folder / f"train-images-idx3-ubyte{suffix}")
    assert (len(data.x_train), len(data.x_test)) == (32, 8)


def test_bad_idx_files(mnist):
    folder, suffix, arrays = mnist
    images, labels = (
        folder / f"train-images-idx3-ubyte{suffix}",
        folder / f"train-labels-idx1-ubyte{suffix}",
    )
    good = idx_bytes(arrays["train"][0])
    for content, words in (
        (b"", ["magic"]),
        (b"\x89PNG" + good[4:], ["magic", "89504e47"]),
        (good[:10], ["truncated"]),
        (good[:-1], ["truncated", "1200"]),
        (good + b"x", ["too long"]),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 2**31), ["truncated"]),
        (idx_bytes(arrays["train"][0][:7]), ["7 images", "40 labels"]),
    ):
        write(images, content)
        refused(images, *words)
    write(images, good)
    refused(labels, "images")
    labels.unlink()
    refused(images, "labels are missing")


def test_a_broken_gz_is_said_to_be_one(mnist):
    folder, suffix, arrays = mnist
    if not suffix:
        pytest.skip("about .gz")
    images = folder / f"train-images-idx3-ubyte{suffix}"
    whole = images.read_bytes()
    for content in (idx_bytes(arrays["train"][0]), whole[: len(whole) // 2], whole[:-8] + bytes(8)):
        images.write_bytes(content)
        refused(images, "gzip")


# ---- CIFAR ----


def cifar_records(n, label_bytes, most):
    rng = np.random.default_rng(n)
    records = rng.integers(0, 256, (n, label_bytes + 3072)).astype(np.uint8)
    records[:, :label_bytes] = np.arange(n)[:, None] % most
    return records


def test_cifar10_folder_and_file(tmp_path):
    batches = [cifar_records(20, 1, 10) for _ in range(2)]
    for i, records in enumerate(batches):
        records.tofile(tmp_path / f"data_batch_{i + 1}.bin")
    cifar_records(10, 1, 10).tofile(tmp_path / "test_batch.bin")
    names = [f"class-{i}" for i in range(10)]
    (tmp_path / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    data = bn.data.load(tmp_path)
    assert data.shape == (3, 32, 32)
    assert data.classes == tuple(names)
    assert (len(data.x_train), len(data.x_test)) == (40, 10)
    assert np.array_equal(data.x_train.reshape(40, -1), np.concatenate(batches)[:, 1:])
    one = bn.data.load(tmp_path / "data_batch_1.bin")
    assert (len(one.x_train), len(one.x_test)) == (16, 4)


def test_cifar100_fine_and_coarse(tmp_path):
    records = cifar_records(200, 2, 100)
    records[:, 0] %= 20
    records.tofile(tmp_path / "train.bin")
    records[:100].tofile(tmp_path / "test.bin")
    fine, coarse = bn.data.load(tmp_path), bn.data.load(tmp_path, target="coarse")
    assert (fine.outputs, coarse.outputs) == (100, 20)
    assert np.array_equal(fine.y_test, np.arange(100))
    assert np.array_equal(coarse.y_test, np.arange(100) % 20)
    with pytest.raises(ValueError, match="fine"):
        bn.data.load(tmp_path, target="medium")


def test_bad_cifar_files(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    records = cifar_records(10, 1, 10)
    path.write_bytes(records.tobytes()[:-1])
    refused(path, "records of", "truncated")
    refused(tmp_path, "records of 3073")
    path.write_bytes(b"")
    refused(path, "0 bytes")
    records[3, 0] = 77
    records.tofile(path)
    refused(path, "labels 0 to 9", "77")


# ---- names ----


def test_unknown_names_and_kinds(tmp_path):
    with pytest.raises(ValueError, match=r"'digitz' is neither a data set \(digits, wine"):
        bn.data.load("digitz")
    refused(tmp_path, "neither IDX")
    (tmp_path / "cifar.tar.gz").write_bytes(b"")
    refused(tmp_path / "cifar.tar.gz", "unpack")
    (tmp_path / "d.xlsx").write_bytes(b"")
    refused(tmp_path / "d.xlsx", ".npz, .csv")
    with pytest.raises(TypeError, match="dtype"):
        bn.data.load("digits", dtype="float16")
    with pytest.raises(ValueError, match="task"):
        bn.data.load("digits", task="ranking")
