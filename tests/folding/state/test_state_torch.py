"""Round trip with PyTorch: the folded file loads into the module and gives the same outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bncore.cli import main

torch = pytest.importorskip("torch")
from tests.folding.state.torch_nets import NETS, trained, without_norms  # noqa: E402

SUFFIXES = [".npz", ".safetensors"]


def save(net, path: Path) -> None:
    if path.suffix == ".npz":
        np.savez(path, **{name: t.numpy() for name, t in net.state_dict().items()})
    else:
        pytest.importorskip("safetensors.torch").save_file(
            net.state_dict(), path, metadata={"format": "pt"}
        )


def load(path: Path) -> dict:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return pytest.importorskip("safetensors.torch").load_file(path)


def round_trip(name, dtype, keep_norm, suffix, folder, capsys):
    """The folded module, loaded strictly, and the one it came from."""
    net = trained(name, dtype)
    save(net, folder / f"in{suffix}")
    argv = ["fold", str(folder / f"in{suffix}"), str(folder / f"out{suffix}"), *NETS[name][2]]
    code = main([*argv, "--keep-norm", keep_norm])
    told = capsys.readouterr()
    assert code == 0, told.err
    assert told.out.startswith(f"folding: {NETS[name][3]} norms folded, 0 left"), told.out
    folded = trained(name, dtype)
    if keep_norm == "drop":
        folded = without_norms(folded)
    folded.load_state_dict(load(folder / f"out{suffix}"), strict=True)
    return net, folded


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep_norm", ["identity", "drop"])
@pytest.mark.parametrize("name", NETS)
def test_the_folded_file_gives_the_same_outputs(name, keep_norm, suffix, tmp_path, capsys):
    net, folded = round_trip(name, torch.float64, keep_norm, suffix, tmp_path, capsys)
    x = torch.randn(NETS[name][1], dtype=torch.float64)
    with torch.no_grad():
        assert (folded(x) - net(x)).abs().max() < 1e-12


@pytest.mark.parametrize("keep_norm", ["identity", "drop"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NETS)
def test_no_further_from_float64_than_the_original(name, dtype, keep_norm, tmp_path, capsys):
    suffix = ".safetensors" if dtype is torch.bfloat16 else ".npz"
    net, folded = round_trip(name, dtype, keep_norm, suffix, tmp_path, capsys)
    x = torch.randn(8, *NETS[name][1][1:]).to(dtype)
    with torch.no_grad():
        before, after = net(x).double(), folded(x).double()
        exact = net.double()(x.double())
        assert (after - exact).abs().mean() <= 2 * (before - exact).abs().mean()


def test_a_norm_that_stays_lets_every_number_through(capsys, tmp_path):
    """PyTorch's own arithmetic, to the bit."""
    _, folded = round_trip("resnet", torch.float32, "identity", ".npz", tmp_path, capsys)
    x = torch.randn(4, 24, 5, 5) * 100
    with torch.no_grad():
        for path, module in folded.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                channels = module.num_features
                expected = x[:, :channels] + module.bias.reshape(1, -1, 1, 1)
                assert torch.equal(module(x[:, :channels].contiguous()), expected), path


def test_a_norm_before_its_operation_in_a_module(tmp_path, capsys):
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 4)).double().eval()
    net[0].running_mean.normal_()
    net[0].running_var.uniform_(0.5, 2)
    save(net, tmp_path / "in.npz")
    (tmp_path / "pairs.txt").write_text("0 -> 1\n")
    argv = ["fold", tmp_path / "in.npz", tmp_path / "out.npz", "--pairs", tmp_path / "pairs.txt"]
    assert main(list(map(str, argv))) == 0
    x = torch.randn(6, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = net(x)
        net.load_state_dict(load(tmp_path / "out.npz"))
        assert (net(x) - expected).abs().max() < 1e-12
        assert torch.equal(net[0](x), x)
    capsys.readouterr()
