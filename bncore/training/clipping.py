"""Gradient clipping by the norm of all gradients together.

Two calls over the net's flat gradient vector.
"""

from __future__ import annotations

import math

from .. import functional as F
from ..layers import Layer
from ..support import checks

__all__ = ["clip_gradients"]


def clip_gradients(net: Layer, max_norm: float) -> float:
    """Scale the net's gradients down to norm ``max_norm`` if theirs is larger.

    Pascanu et al. 2013, 1211.5063. As ``torch.nn.utils.clip_grad_norm_``: the factor is ``min(1,
    max_norm / (norm + 1e-6))``.

    Returns
    -------
    float
        The norm before clipping. If it is not finite the gradients are left alone.
    """
    max_norm = checks.positive(max_norm, "max_norm")
    gradients = net.gradients_flat
    norm = math.sqrt(F.squared_norm(gradients))
    factor = max_norm / (norm + 1e-6)
    if math.isfinite(norm) and factor < 1.0:
        F.scale_(gradients, factor)
    return norm
