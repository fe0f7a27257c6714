"""Values that live at the same time never share a byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bncore.plan.memory import lay_out
from bncore.plan.values import Step, Value

FLOAT = np.dtype(np.float32)


@given(
    st.lists(st.tuples(st.integers(1, 60000), st.integers(0, 9), st.integers(0, 9)), max_size=25)
)
def test_no_two_living_values_overlap(values):
    steps = [Step("", "", [], [], lambda bound: None) for _ in range(10)]
    made = []
    for number, (size, a, b) in enumerate(values):
        value = Value(f"v{number}", (size,), FLOAT)
        steps[min(a, b)].writes = [*steps[min(a, b)].writes, value]
        steps[max(a, b)].reads = [*steps[max(a, b)].reads, value]
        made.append((value, min(a, b), max(a, b)))
    layout = lay_out(steps, [], [])
    for i, (v, a, b) in enumerate(made):
        assert layout.offsets[v] % 64 == 0
        assert layout.offsets[v] + v.nbytes <= layout.nbytes
        for w, c, d in made[:i]:
            if a <= d and c <= b:
                begin, other = layout.offsets[v], layout.offsets[w]
                assert begin + v.nbytes <= other or other + w.nbytes <= begin


def test_values_in_a_row_share_memory():
    a, b, c, d = (Value(name, (1000,), FLOAT) for name in "abcd")
    steps = [Step("", "", [x], [y], lambda bound: None) for x, y in ((a, b), (b, c), (c, d))]
    layout = lay_out(steps, [a], [d])
    assert layout.nbytes < 3 * 4096


def test_inputs_and_outputs_live_from_first_to_last():
    a, b, c = (Value(name, (1000,), FLOAT) for name in "abc")
    steps = [Step("", "", [a], [b], lambda bound: None), Step("", "", [b], [c], lambda bound: None)]
    layout = lay_out(steps, [a], [b, c])
    assert layout.lives[a] == [(-1, 0)]
    assert layout.lives[b] == [(0, 2)]
    assert layout.offsets[b] != layout.offsets[c]
