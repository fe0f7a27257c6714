"""A small state dict in a file, and what damage does to its bytes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

from bncore.io.state_file import save_state
from bncore.support.tensors import StateDict


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Two convolutions with norms and a linear head."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for n, (outputs, inputs) in enumerate(((8, 3), (4, 8)), 1):
        made[f"conv{n}.weight"] = rng.normal(size=(outputs, inputs, 3, 3))
        made[f"bn{n}.weight"] = rng.uniform(0.5, 2, outputs)
        made[f"bn{n}.bias"] = rng.normal(size=outputs)
        made[f"bn{n}.running_mean"] = rng.normal(size=outputs)
        made[f"bn{n}.running_var"] = rng.uniform(0.5, 2, outputs)
    made["conv1.bias"] = rng.normal(size=8)
    made["fc.weight"] = rng.normal(size=(2, 4))
    return {name: a.astype(np.float32) for name, a in made.items()} | {
        f"bn{n}.num_batches_tracked": np.array(5) for n in (1, 2)
    }


def write(
    path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None
) -> Path:
    state = StateDict.of(tensors)
    save_state(path, state.tensors, state.read, metadata=metadata)
    return path


def mutated(good: bytes, seed: int) -> bytes:
    """A .safetensors file with one kind of damage, or several."""
    rnd = random.Random(seed)
    data = bytearray(good)
    length = int.from_bytes(good[:8], "little")
    kind = seed % 8
    if kind == 0:
        return bytes(data[: rnd.randrange(len(data))])
    if kind == 1:
        for _ in range(rnd.randrange(1, 6)):
            data[rnd.randrange(len(data))] = rnd.randrange(256)
    elif kind == 2:  # in the header
        for _ in range(rnd.randrange(1, 4)):
            data[rnd.randrange(length + 8)] = rnd.randrange(256)
    elif kind == 3:
        begin = rnd.randrange(len(data))
        del data[begin : begin + rnd.randrange(1, 40)]
    elif kind == 4:
        begin = rnd.randrange(len(data))
        data[begin:begin] = rnd.randbytes(rnd.randrange(1, 40))
    elif kind == 5:
        data[:8] = rnd.choice([2**64 - 1, 2**63, 0, 1, length - 1, length + 1]).to_bytes(
            8, "little"
        )
    elif kind == 6:
        data += rnd.randbytes(rnd.randrange(1, 20))
    else:
        return _with_odd_entry(good, length, rnd)
    return bytes(data)


def _with_odd_entry(good: bytes, length: int, rnd: random.Random) -> bytes:
    entries = json.loads(good[8 : 8 + length])
    name = rnd.choice([name for name in entries if name != "__metadata__"])
    odd = {
        "dtype": ["F64", "I8", "X9", 7, None, "F4", "BOOL"],
        "shape": [[-1], [2**62, 2**62], [1.5], "x", [], [0], None, [10**30], [True], [1] * 70],
        "data_offsets": [[0], [0, 2**63], [-4, 0], [10, 4], "a", [0, 10**40], [1.0, 2.0]],
    }
    field = rnd.choice([*odd, "name", "missing"])
    if field == "name":
        entries[rnd.choice(["\ud800", "", "__metadata__", "a\nb"])] = entries.pop(name)
    elif field == "missing":
        del entries[name][rnd.choice(list(odd))]
    else:
        entries[name][field] = rnd.choice(odd[field])
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + good[8 + length :]
