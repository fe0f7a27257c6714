"""bncore train: train a net, measure its statistics, fold its norms away and compare."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..thread_limits import threads
from .options import (
    add_common,
    add_data,
    add_threads,
    fraction,
    non_negative,
    note,
    positive,
    positive_int,
)
from .report import emit_json, percent, recalibration_text

if TYPE_CHECKING:
    from ..layers import Layer
    from ..training import History
    from ..training.data import Dataset

__all__ = ["add_arguments", "run"]

NETS = ("mlp", "cnn", "resnet20", "inception_small")
NORMS = ("batch", "none")
OPTIMIZERS = {"sgd": 0.1, "adamw": 3e-3}  # name -> default learning rate
SCHEDULES = ("one_cycle", "cosine", "warm_up_cosine", "step", "constant")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--net", choices=NETS, help="default: cnn for images, else mlp")
    parser.add_argument("--norm", choices=NORMS, default="batch", help="default: %(default)s")
    parser.add_argument(
        "--epochs", type=positive_int, default=30, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=64, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--optimizer", choices=tuple(OPTIMIZERS), default="sgd", help="default: %(default)s"
    )
    parser.add_argument(
        "--lr",
        type=positive,
        metavar="X",
        help="peak learning rate (default: sgd 0.1, adamw 0.003)",
    )
    parser.add_argument(
        "--momentum", type=fraction, default=0.9, metavar="X", help="of sgd (default: %(default)s)"
    )
    parser.add_argument(
        "--weight-decay",
        type=non_negative,
        default=5e-4,
        metavar="X",
        help="of weights alone, never of norms and biases (default: %(default)s)",
    )
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="one_cycle",
        help="of the learning rate (default: %(default)s)",
    )
    parser.add_argument(
        "--clip-norm", type=positive, metavar="X", help="largest gradient norm (default: no limit)"
    )
    parser.add_argument(
        "--label-smoothing",
        type=fraction,
        default=0.1,
        metavar="X",
        help="of classes, in training (default: %(default)s)",
    )
    parser.add_argument(
        "--augment",
        choices=("auto", "none", "shift"),
        default="auto",
        help="shift: move images by up to a pixel in training; auto: shift if DATA are images",
    )
    parser.add_argument(
        "--validation",
        type=fraction,
        metavar="SHARE",
        help="hold back this share of the training samples",
    )
    parser.add_argument(
        "--patience",
        type=positive_int,
        metavar="N",
        help="stop after N epochs without a better validation loss",
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="default: %(default)s"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="save the trained, recalibrated, unfolded net (.npz)"
    )
    parser.add_argument(
        "--history", metavar="FILE", help="save the epochs' losses: .json, or a plot as .png"
    )
    add_threads(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    from ..training.data import load

    _check_files(args)
    args.seed = args.seed or 0
    data = load(args.data, args.target, seed=args.seed, dtype=args.dtype)
    net, name = _build_net(args, data)
    with threads(args.threads):
        note(args, f"{data!r}\n{name}, {net.num_parameters} parameters, norm {args.norm}")
        start = time.perf_counter()
        history = _fit(args, net, data)
        seconds = time.perf_counter() - start
        result: dict[str, Any] = {
            "command": "train",
            "data": {
                "name": data.name,
                "task": data.task,
                "train": len(data.x_train),
                "test": len(data.x_test),
            },
            "net": {"name": name, "norm": args.norm, "parameters": net.num_parameters},
            "epochs": len(history.epochs),
            "seconds": seconds,
            "train_loss": history.epochs[-1]["loss"],
            **_measure(args, net, data),
        }
    _save(args, net, data, name, history, result)
    result |= {"out": args.out, "history": args.history, "seed": args.seed, "threads": args.threads}
    if args.json:
        emit_json(result)
    else:
        print(_text(result))
    return 0 if result["fold"]["agree"] else 1


def _check_files(args: argparse.Namespace) -> None:
    """Everything about the outputs that could fail is tried before minutes of training."""
    from ..support.extras import require
    from ..support.files import check_target

    for path in (args.out, args.history):
        if path is not None:
            check_target(path, args.force)
    if args.history is not None:
        suffix = Path(args.history).suffix.lower()
        if suffix not in (".json", ".png"):
            raise ValueError(
                f"--history: expected a name that ends in .json or .png, got {args.history!r}"
            )
        if suffix == ".png":
            require("matplotlib", "plot")
    if args.patience is not None and args.validation is None:
        raise ValueError(
            "--patience needs --validation SHARE: without held-back samples there is nothing to watch"
        )


def _build_net(args: argparse.Namespace, data: Dataset) -> tuple[Layer, str]:
    """The reference net for these samples: its first and last layer follow the data."""
    from .. import nets

    images = len(data.shape) == 3
    name = args.net or ("cnn" if images else "mlp")
    if name != "mlp" and not images:
        raise ValueError(
            f"--net {name} needs images, {data.name} has samples of shape {data.shape}: use mlp"
        )
    inputs = data.shape[0] if name != "mlp" else math.prod(data.shape)
    net = getattr(nets, name)(inputs, data.outputs, norm=args.norm, rng=args.seed, dtype=args.dtype)
    return net, name


def _shifts(args: argparse.Namespace, data: Dataset) -> bool:
    """Whether training images are moved about."""
    images = len(data.shape) == 3
    if args.augment == "shift" and not images:
        raise ValueError(
            f"--augment shift needs images, {data.name} has samples of shape {data.shape}"
        )
    return images and args.augment != "none"


def _fit(args: argparse.Namespace, net: Layer, data: Dataset) -> History:
    from .. import training

    lr = args.lr if args.lr is not None else OPTIMIZERS[args.optimizer]
    optimizer = (
        training.SGD(lr=lr, momentum=args.momentum, weight_decay=args.weight_decay)
        if args.optimizer == "sgd"
        else training.AdamW(lr=lr, weight_decay=args.weight_decay)
    )
    loss = (
        training.CrossEntropy(label_smoothing=args.label_smoothing)
        if data.task == "classification"
        else training.MSE()
    )
    history = training.fit(
        net,
        data.x_train,
        data.y_train,
        loss=loss,
        optimizer=optimizer,
        epochs=args.epochs,
        batch_size=args.batch_size,
        schedule=args.schedule,
        validation=args.validation,
        early_stopping=args.patience,
        clip_norm=args.clip_norm,
        augment="shift" if _shifts(args, data) else None,
        seed=args.seed,
        progress=not args.quiet,
    )
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return history


def _measure(args: argparse.Namespace, net: Layer, data: Dataset) -> dict[str, Any]:
    """What recalibration changed, what folding did, what an answer costs before and after."""
    from ..folding import fold_net, verify
    from ..statistics import recalibrate
    from ..training import evaluate
    from .agreement import default_tolerance, fold_section
    from .inputs import loss_of
    from .latency import compare

    loss = loss_of(data)
    before = evaluate(net.eval(), data.x_test, data.y_test, loss)
    change = recalibrate(net, data.x_train, method="sequential")
    after = evaluate(net.eval(), data.x_test, data.y_test, loss)
    folded, report = fold_net(net, input_ndim=data.x_test.ndim)
    found = verify(net, folded, data.x_test)
    single = compare(net, folded, data.x_test, batch_size=1)
    batch = compare(net, folded, data.x_test, batch_size=64)
    return {
        "test_accuracy": after.get("accuracy"),
        "test_loss": after["loss"],
        "recalibration": {**change.to_dict(), "before": before, "after": after},
        "fold": fold_section(report, found, default_tolerance(args.dtype)),
        "latency_us": {**single, "batched": batch},
    }


def _save(
    args: argparse.Namespace,
    net: Layer,
    data: Dataset,
    name: str,
    history: History,
    result: dict[str, Any],
) -> None:
    from ..io import save
    from ..support.files import atomic_path
    from .report import plain

    if args.out is not None:
        meta = {
            "net": name,
            "data": args.data,
            "target": args.target,
            "seed": args.seed,
            "task": data.task,
            "classes": list(data.classes),
            "input_shape": list(data.shape),
            "dtype": args.dtype,
            "test_accuracy": result["test_accuracy"],
            "test_loss": result["test_loss"],
        }
        save(net, args.out, meta=plain(meta), force=args.force)
        note(args, f"saved {args.out}")
    if args.history is not None:
        with atomic_path(args.history, args.force) as temporary:
            if Path(args.history).suffix.lower() == ".png":
                history.plot(temporary)
            else:
                temporary.write_text(history.to_json() + "\n", encoding="utf-8")
        note(args, f"saved {args.history}")


def _text(result: dict[str, Any]) -> str:
    from .agreement import fold_text

    accuracy = result["test_accuracy"]
    headline = (
        f"test loss {result['test_loss']:.4g}"
        if accuracy is None
        else f"test accuracy {percent(accuracy)}"
    )
    single, batch = result["latency_us"], result["latency_us"]["batched"]
    return "\n".join(
        [
            f"{headline} after {result['epochs']} epochs in {result['seconds']:.1f} s",
            *recalibration_text(result["recalibration"]),
            fold_text(result["fold"]),
            "time per sample, median, unfolded -> folded:",
            f"  one at a time  {single['before']:.1f} -> {single['after']:.1f} µs",
            f"  batches of {batch['batch_size']}  {batch['before']:.1f} -> {batch['after']:.1f} µs",
        ]
    )
