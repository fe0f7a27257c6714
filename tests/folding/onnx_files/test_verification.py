"""What the comparison tries, what it tolerates, and that it never claims more than it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bncore.folding.onnx.distance import TOLERANCES
from bncore.folding.onnx.fold_file import FileFold, Options, fold_file

from . import models
from .standin import fold_model, untouched


def fold(
    model: onnx.ModelProto, folder: Path, engine: Any = fold_model, **options: Any
) -> FileFold:
    path = models.save(model, folder / "m.onnx")
    return fold_file(path, folder / "out.onnx", Options(**options), fold=engine)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], tensors: Any = ()) -> Any:
    """(name, type, dims) for inputs and outputs."""
    values = [
        [helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)
    ]
    return models.model_of(helper.make_graph(nodes, "g", *values, list(tensors)))


def test_a_folded_net_agrees_in_several_shapes_and_beside_float64(tmp_path: Path) -> None:
    found = fold(models.conv_net(), tmp_path).verification
    assert found.status == "agree"
    assert len({case.partition(": ")[2] for case in found.cases}) >= 3
    assert any(" 3x3x" in case for case in found.cases)
    (output,) = found.outputs
    assert output.original is not None and 0 < output.original < 1e-5
    assert output.folded is not None and output.folded < 2 * output.original + 1e-6


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_floating_type(tmp_path: Path, dtype: Any) -> None:
    """ONNX Runtime has no float64 convolution: then both are compared as float32, which is said."""
    found = fold(models.conv_net(dtype=dtype), tmp_path).verification
    assert found.status == "agree", found.reason
    assert ("converted to float32" in found.how) == (dtype == np.float64)
    assert found.tolerance == TOLERANCES[TensorProto.FLOAT16 if dtype == np.float16 else 1]
    assert found.outputs[0].original is not None


def test_float64_matmul(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = [
        models.initializer("w", rng.normal(size=(5, 4)), np.float64),
        *models.norm_parameters("bn", 4, rng, np.float64),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("BatchNormalization", ["m", *[t.name for t in tensors[1:]]], ["y"]),
    ]
    double = TensorProto.DOUBLE
    model = graph(nodes, [("x", double, ["N", 5])], [("y", double, ["N", 4])], tensors)
    found = fold(model, tmp_path).verification
    assert found.status == "agree" and found.tolerance == TOLERANCES[double]


def test_bfloat16_is_compared_as_float32_and_says_so(tmp_path: Path) -> None:
    import ml_dtypes

    model = models.conv_net(dtype=ml_dtypes.bfloat16, opset=22, ir=10)
    found = fold(model, tmp_path).verification
    assert found.status == "agree", found.reason
    assert "converted to float32" in found.how
    assert found.tolerance == TOLERANCES[TensorProto.BFLOAT16]


def test_what_cannot_run_is_not_called_verified(tmp_path: Path) -> None:
    """A custom operator: the file is written, and the report says what was not done."""
    node = helper.make_node("Secret", ["x"], ["y"], domain="org.example")
    model = graph([node], [("x", 1, ["N", 3])], [("y", 1, ["N", 3])])
    model.opset_import.add(domain="org.example", version=1)
    result = fold(model, tmp_path)
    assert result.written
    assert result.verification.status == "not verified"
    assert "does not run" in result.verification.reason


def test_random_numbers_in_the_model_are_noticed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    model = graph(nodes, [("x", 1, ["N", 3])], [("y", 1, ["N", 3])])
    found = fold(model, tmp_path, untouched).verification
    assert found.status == "not verified" and "random" in found.reason


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_outputs_that_prove_nothing(tmp_path: Path, value: float) -> None:
    """A dead model: whatever folding did, all is 0, or NaN."""
    nodes = [helper.make_node("Mul", ["x", "dead"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    model = graph(
        nodes, [("x", 1, ["N", 3])], [("y", 1, ["N", 3])], [models.initializer("dead", value)]
    )
    found = fold(model, tmp_path, untouched).verification
    assert found.status == "not verified" and "other than 0" in found.reason


def test_no_verify_runs_nothing(tmp_path: Path) -> None:
    found = fold(models.conv_net(), tmp_path, verify=False).verification
    assert found.status == "not verified" and "--no-verify" in found.reason


def test_indices_stay_inside_their_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = models.initializer("table", rng.normal(size=(7, 5)))
    nodes = [
        helper.make_node("Unsqueeze", ["i", "axes"], ["j"]),
        helper.make_node("Gather", ["table", "j"], ["y"]),
    ]
    model = graph(
        nodes,
        [("i", TensorProto.INT64, ["N", "L"])],
        [("y", 1, ["N", 1, "L", 5])],
        [table, models.initializer("axes", [1], np.int64)],
    )
    assert fold(model, tmp_path, untouched).verification.status == "agree"


def test_masks_and_bytes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["bytes"], ["f"], to=1),
        helper.make_node("Where", ["mask", "f", "zero"], ["y"]),
    ]
    model = graph(
        nodes,
        [("bytes", TensorProto.UINT8, ["N", 3]), ("mask", TensorProto.BOOL, ["N", 3])],
        [("y", 1, ["N", 3])],
        [models.initializer("zero", 0.0)],
    )
    found = fold(model, tmp_path, untouched).verification
    assert found.status == "agree"
    (output,) = found.outputs
    assert output.original == 0.0


def test_channels_that_the_input_does_not_tell(tmp_path: Path) -> None:
    """All dimensions free: the first convolution knows its channels."""
    model = models.conv_net(dims=("N", "C", "H", "W"))
    del model.graph.node[0]
    model.graph.node[0].input[0] = "x"
    found = fold(model, tmp_path).verification
    assert found.status == "agree"
    assert all("x3x" in case for case in found.cases)


def test_a_shape_the_model_refuses_is_passed_over(tmp_path: Path) -> None:
    """Only multiples of 16 can be reshaped so."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    tensors = [models.initializer("shape", [0, -1, 16], np.int64)]
    model = graph(nodes, [("x", 1, ["N", "L"])], [("y", 1, ["N", "M", 16])], tensors)
    found = fold(model, tmp_path, untouched).verification
    assert found.status == "agree"
    assert not any("x33" in case or "x40" in case for case in found.cases)


def test_chosen_sizes(tmp_path: Path) -> None:
    found = fold(models.conv_net(), tmp_path, dims={"H": 7, "W": 5}).verification
    assert found.status == "agree"
    assert all(case.endswith("x3x7x5") for case in found.cases)


def test_a_size_for_no_dimension(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="free are: N, H, W"):
        fold(models.conv_net(), tmp_path, dims={"height": 7})


def test_inputs_from_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((2, 3, 9, 9), np.float32))
    found = fold(models.conv_net(), tmp_path, inputs=str(tmp_path / "x.npz")).verification
    assert found.status == "agree" and found.cases == [str(tmp_path / "x.npz")]


@pytest.mark.parametrize(
    ("arrays", "fragment"),
    [
        ({"a": np.ones((2, 3, 9, 9)), "b": np.ones(2)}, "no array for input 'x'"),
        ({"x": np.ones((2, 4, 9, 9))}, "takes the shape"),
        ({"x": np.ones((3, 9, 9))}, "takes the shape"),
        ({"x": np.array([["a"]])}, "takes float32"),
        ({"x": np.array([[{}]])}, "npz file"),
    ],
    ids=["other names", "other channels", "other rank", "text", "objects"],
)
def test_inputs_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], fragment: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=fragment):
        fold(models.conv_net(), tmp_path, inputs=str(tmp_path / "x.npz"))


def test_an_endless_model_is_stopped(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c_out"]),
            helper.make_node("Identity", ["v"], ["v_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", 7, []),
            helper.make_tensor_value_info("c", 9, []),
            helper.make_tensor_value_info("v", 1, [1]),
        ],
        [
            helper.make_tensor_value_info("c_out", 9, []),
            helper.make_tensor_value_info("v_out", 1, [1]),
        ],
    )
    nodes = [helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)]
    model = graph(nodes, [("x", 1, [1])], [("y", 1, [1])], [models.initializer("true", True, bool)])
    found = fold(model, tmp_path, untouched, time_limit=0.2).verification
    assert found.status == "not verified" and "more than 0.2 s" in found.reason


def test_absurd_sizes_are_not_run(tmp_path: Path) -> None:
    """One convolution over 10^12 positions takes for ever, and nothing can stop it."""
    model = models.conv_net(1)
    model.graph.node[1].attribute[0].ints[2] = 1 << 40
    found = fold(model, tmp_path).verification
    assert found.status == "not verified" and "elements" in found.reason


def test_overridable_initializers_are_not_fed(tmp_path: Path) -> None:
    found = fold(models.conv_net(ir=3, opset=9), tmp_path, untouched).verification
    assert found.status == "agree"
    assert all("weight" not in case for case in found.cases)


def test_cancellation_that_folding_removes(tmp_path: Path) -> None:
    """Bias and mean near 10 000: the original loses four digits, the folded model none."""
    rng = np.random.default_rng(0)
    means = rng.normal(10_000, 1, 4)
    parameters = norm_of(means, rng)
    weight = models.initializer("w", rng.normal(size=(4, 3, 1, 1)))
    bias = models.initializer("b", means + rng.normal(size=4))
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", *[t.name for t in parameters]], ["y"], "bn"),
    ]
    shapes = [("x", 1, ["N", 3, "H", "W"]), ("y", 1, ["N", 4, "H", "W"])]
    model = graph(nodes, shapes[:1], shapes[1:], [weight, bias, *parameters])
    found = fold(model, tmp_path).verification
    (output,) = found.outputs
    assert found.status == "agree", found.reason
    assert output.original is not None and output.folded is not None
    assert output.folded < output.original / 100
    assert "original that is far from the float64 run" in output.remark


def norm_of(means: np.ndarray, rng: np.random.Generator) -> list[Any]:
    parameters = models.norm_parameters("bn", len(means), rng)
    parameters[2] = models.initializer("bn.mean", means)
    return parameters
