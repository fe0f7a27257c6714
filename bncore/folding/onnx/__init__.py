"""Folding of ONNX graphs: `engine.fold_model` removes a model's batch norms by changing the
weights around them.

An evaluation-mode norm is an affine map per channel, and so is arithmetic with constants: a
*label* (labels.py) on a value. A *walk* (walk.py) asks the operators around a label's node to
take it, each by a rule of its own, and collects edits; nothing is changed before all have agreed.
*Moves* are the ways in which a node may go or become a cheaper one; the engine applies those that
win, until none does.

    graph.py, program.py      nodes, values, names; edits that keep producers and readers right
    shapes.py, evaluate.py    what is known of values: shapes by inference, constants behind small expressions
    constants.py, weights.py  changing constants: copies where others read them, float64 until the end, quantized weights
    affine_nodes.py           nodes as labels, labels as nodes
    rewrites/                 one file per family of operators: what it takes and what it lets pass, in both directions
    moves/                    one file per way of folding
    engine.py                 rounds over the moves; the report

Adding an operator: one file in rewrites/ with the rule in prose at its top and ``RULE =
Rule(name, level, operators, backward, forward)``. `backward` gets the label of an output and
returns edits, mostly ``walk.backward(node.input(0), changed label)``; `forward` gets the label of
an input and returns edits, mostly ``walk.forward(node.outputs[0], changed label)``. What has a
weight makes an edit: ``edit = walk.edit(node)``, ``edit.multiply(walk.weight(node, 1), factor)``,
``edit.put(2, bias, data_type)``. Whatever does not fit raises ``FoldRefused`` with a reason that
ends up in a report. List the module in ``rewrites/__init__.py``; tests: one graph for each
direction and for each refusal, and the operator in ``tests/folding/onnx/random_graphs.py``.

Adding a way of folding: one file in moves/ with ``MOVE = Move(name, level, function)``, the
function (walk, node, label) -> edits; list it in ``moves/__init__.py`` in the round where it
belongs. An edit's cost counts passes over the data; a plan is taken when it wins some.

Around it: load.py, external.py, store.py, save.py (files), verify.py, trial.py, distance.py, bisect.py (comparison), twin.py and
float64/ (second opinion), report.py, picture.py, inspect.py. Nothing here imports onnx or ONNX Runtime before it is used.
"""

from __future__ import annotations

from .engine import DEFAULT_LEVELS, LEVELS, Applied, ModelFold, fold_model
from .fold_file import FileFold, Options, fold_file
from .inspect import inspect_model

__all__ = [
    "DEFAULT_LEVELS",
    "LEVELS",
    "Applied",
    "FileFold",
    "ModelFold",
    "Options",
    "fold_file",
    "fold_model",
    "inspect_model",
]
