"""bncore info: version, who computes and why, instruction sets, caches, thread pools, memory pool; what norms choose, how nets run."""

from __future__ import annotations

import argparse
import os
import platform
from typing import Any

from .options import add_common
from .plan import add_plan, plan_text, plans, refuse_alone
from .plan_net import add_net, net_plan, net_plan_data, net_plan_text
from .report import emit_json, plain, table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common(parser, writes=False)
    add_plan(parser)
    add_net(parser)


def run(args: argparse.Namespace) -> int:
    from .. import __version__, backend

    if args.net is not None and args.plan is not None:
        plan = net_plan(args)
        return _show(args, net_plan_data(args, plan), net_plan_text(args, plan))
    if args.net is not None or args.inference:
        raise ValueError("--net and --inference ask about --plan, which is missing")
    if args.plan == ():
        raise ValueError("--plan needs a SHAPE, such as 64x256x14x14, or --net NET")
    if args.plan:
        found = plans(args)
        return _show(args, found, plan_text(found))
    refuse_alone(args)
    found = backend.info()
    result: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "backend": found["backend"],
        "why": _why(found),
        **found,
        "cpus": _cpus(),
        "thread_pools": _thread_pools(),
        "extras": _extras(),
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith("BNCORE_")
        },
    }
    if args.json:
        emit_json({"command": "info", **result})
    else:
        print(table(_rows(plain(result)), indent=""))
    return 0


def _show(args: argparse.Namespace, found: dict[str, Any], text: str) -> int:
    if args.json:
        emit_json({"command": "info", **found})
    else:
        print(text)
    return 0


def _why(found: dict[str, Any]) -> str:
    """Why this backend computes."""
    asked = os.environ.get("BNCORE_BACKEND")
    if asked:
        return f"BNCORE_BACKEND={asked}"
    if found["backend"] == "numpy":
        return f"pure NumPy, without the compiled core: {found.get('reason')}"
    return "the compiled core is there"


def _cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _thread_pools() -> list[dict[str, Any]]:
    """OpenMP and BLAS libraries in this process; NumPy's BLAS is loaded first, or it would be missing."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    keys = ("user_api", "internal_api", "prefix", "version", "num_threads", "filepath")
    return [{key: pool.get(key) for key in keys} for pool in threadpool_info()]


def _extras() -> dict[str, bool]:
    """Which optional packages are there (looked for, not imported)."""
    from importlib.util import find_spec

    names = {
        "sklearn": "sklearn",
        "plot": "matplotlib",
        "progress": "tqdm",
        "onnx": "onnx",
        "bench": "torch",
    }
    return {extra: find_spec(module) is not None for extra, module in names.items()}


def _rows(result: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, value) lines; nested objects become dotted names, what is not there gets no line."""
    rows: list[tuple[str, str]] = []
    for key, value in result.items():
        name = f"{prefix}{key}"
        if key == "thread_pools":
            rows += [_pool_row(pool) for pool in value]
        elif isinstance(value, dict):
            rows += _rows(value, f"{name}.")
        elif isinstance(value, list):
            rows.append((name, ", ".join(str(item) for item in value) or "none"))
        elif isinstance(value, bool):
            rows.append((name, "yes" if value else "no"))
        elif value is not None:
            rows.append((name, str(value)))
    return rows


def _pool_row(pool: dict[str, Any]) -> tuple[str, str]:
    library = " ".join(str(part) for part in (pool["internal_api"], pool["version"]) if part)
    return f"{pool['user_api']} threads", f"{pool['num_threads']} ({library}, {pool['filepath']})"
