"""What every family of operators does with affine maps: one file each, listed here."""

from __future__ import annotations

from ..walk import Rule
from . import (
    absolute,
    average_pool,
    clip,
    concat,
    conv,
    conv_transpose,
    depth_to_space,
    einsum,
    elementwise,
    gather,
    gemm,
    matmul,
    max_pool,
    pad,
    prelu,
    recurrent,
    relu,
    reshape,
    resize,
    same,
    softmax,
    split,
    transpose,
)

__all__ = ["RULES"]

RULES: dict[str, Rule] = {
    operator: module.RULE
    for module in (
        conv,
        conv_transpose,
        gemm,
        matmul,
        einsum,
        gather,
        recurrent,
        elementwise,
        same,
        transpose,
        reshape,
        concat,
        split,
        depth_to_space,
        resize,
        average_pool,
        max_pool,
        pad,
        relu,
        prelu,
        absolute,
        clip,
        softmax,
    )
    for operator in module.RULE.operators
}
