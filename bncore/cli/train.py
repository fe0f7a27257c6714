"""bncore train: train a net, choose its statistics, fold its norms away and compare."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
from .report import emit_json

if TYPE_CHECKING:
    from ..layers import Layer
    from ..training import History
    from ..training.data import Dataset
    from ..training.recipes import Recipe

__all__ = ["add_arguments", "run"]

NETS = ("mlp", "cnn", "resnet20", "inception_small", "separable", "lstm", "gru", "rnn")
NORMS = ("batch", "none", "renorm", "layer", "rms", "group", "instance")
LEARNING_RATES = {"sgd": 0.1, "adamw": 3e-3}  # of an optimizer the recipe does not use
SCHEDULES = ("one_cycle", "cosine", "warm_up_cosine", "step", "constant")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, seed="of split, initial weights, shuffling, dropout (default: 0)")
    recipe = parser.add_argument_group("how to train (defaults suit the data set)")
    recipe.add_argument("--net", choices=NETS)
    recipe.add_argument("--norm", choices=NORMS, default="batch", help="default: %(default)s")
    recipe.add_argument("--epochs", type=positive_int, metavar="N")
    recipe.add_argument(
        "--batch-size", type=positive_int, metavar="N", help="at most; evenly split"
    )
    recipe.add_argument("--optimizer", choices=tuple(LEARNING_RATES))
    recipe.add_argument("--lr", type=positive, metavar="X", help="peak learning rate")
    recipe.add_argument("--momentum", type=fraction, metavar="X", help="of sgd")
    recipe.add_argument(
        "--weight-decay", type=non_negative, metavar="X", help="never of norms and biases"
    )
    recipe.add_argument("--schedule", choices=SCHEDULES, help="of the learning rate")
    recipe.add_argument("--label-smoothing", type=fraction, metavar="X")
    recipe.add_argument(
        "--augment", choices=("none", "shift"), help="shift: move images by up to a pixel"
    )
    recipe.add_argument("--clip-norm", type=positive, metavar="X", help="largest gradient norm")
    recipe.add_argument(
        "--validation", type=fraction, metavar="SHARE", help="hold back training samples"
    )
    recipe.add_argument(
        "--patience",
        type=positive_int,
        metavar="N",
        help="stop after N epochs without a better validation loss, keep the best weights",
    )
    recipe.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="default: %(default)s"
    )
    parser.add_argument(
        "--no-recalibrate",
        action="store_true",
        help="keep the running statistics that training left (default: those of the training data, unless its loss "
        "rises with them)",
    )
    parser.add_argument("--out", metavar="FILE", help="save the trained, unfolded net (.npz)")
    parser.add_argument(
        "--history", metavar="FILE", help="save the epochs' losses: .json, or a plot as .png"
    )
    add_threads(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    from ..training.data import load
    from .kept import choose_statistics
    from .outcome import describe, measure

    _check_files(args)
    args.seed = args.seed or 0
    data = load(args.data, args.target, seed=args.seed, dtype=args.dtype)
    recipe = _recipe(args, data)
    net: Layer = recipe.build_net(data, norm=args.norm, dtype=args.dtype, rng=args.seed)
    note(args, f"{data!r}\n{recipe.net}, {net.num_parameters} parameters, norm {args.norm}")
    # divergence is reported once, with its cause, not as NumPy's warnings on the way there
    with threads(args.threads), np.errstate(all="ignore"):
        start = time.perf_counter()
        history = _fit(args, recipe, net, data)
        seconds = time.perf_counter() - start
        net, recalibration = choose_statistics(net, data, measure=not args.no_recalibrate)
        outcome = measure(net, data, args.dtype, recalibration)
    result: dict[str, Any] = {
        "command": "train",
        "data": {
            "name": data.name,
            "task": data.task,
            "train": len(data.x_train),
            "test": len(data.x_test),
        },
        "net": {"name": recipe.net, "norm": args.norm, "parameters": net.num_parameters},
        "recipe": asdict(recipe),
        "seed": args.seed,
        "threads": args.threads,
        "epochs": len(history.epochs),
        "seconds": seconds,
        "train_loss": history.epochs[-1]["loss"],
        **outcome,
        "out": args.out,
        "history": args.history,
    }
    _save(args, net, data, history, result)
    if args.json:
        emit_json(result)
    else:
        print(describe(result))
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


def _recipe(args: argparse.Namespace, data: Dataset) -> Recipe:
    """What is known to work for this data set, with what the options say otherwise."""
    from ..training.recipes import recipe_for

    recipe = recipe_for(data, args.net)
    if args.optimizer is not None and args.optimizer != recipe.optimizer:
        recipe = replace(recipe, optimizer=args.optimizer, lr=LEARNING_RATES[args.optimizer])
    names = (
        "epochs",
        "batch_size",
        "lr",
        "momentum",
        "weight_decay",
        "schedule",
        "label_smoothing",
    )
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.augment is not None:
        given["augment"] = None if args.augment == "none" else args.augment
    return replace(recipe, **given)


def _fit(args: argparse.Namespace, recipe: Recipe, net: Layer, data: Dataset) -> History:
    from ..training import TargetScale, fit

    # a regression's targets have a unit: train without it, answer in it
    scale = None if data.task == "classification" else TargetScale.of(data.y_train)
    history = fit(
        net,
        data.x_train,
        data.y_train if scale is None else scale.standardize(data.y_train),
        **recipe.fit_options(data),
        validation=args.validation,
        early_stopping=args.patience,
        clip_norm=args.clip_norm,
        seed=args.seed,
        progress=not args.quiet,
    )
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    if scale is not None:
        scale.absorb(net)
    return history


def _save(
    args: argparse.Namespace,
    net: Layer,
    data: Dataset,
    history: History,
    result: dict[str, Any],
) -> None:
    from ..io import save
    from ..support.files import atomic_path
    from .report import plain

    if args.out is not None:
        meta = {
            "net": result["net"]["name"],
            "data": args.data,
            "target": args.target,
            "seed": args.seed,
            "batch_size": result["recipe"]["batch_size"],
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
