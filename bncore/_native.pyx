# cython: language_level=3, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""The compiled core: NumPy arrays to checked pointers and back. No mathematics, no conversions.

An argument that is not taken as it is raises `Refused`; ``functional`` then converts it or
explains. Each family of operations has its own include file.
"""

include "_native_array.pxi"
include "_native_ops.pxi"
include "_native_activation.pxi"
include "_native_conv.pxi"
include "_native_linear.pxi"
include "_native_loss.pxi"
include "_native_norm.pxi"
include "_native_norm_backward.pxi"
include "_native_front.pxi"
include "_native_group.pxi"
include "_native_optimizer.pxi"
include "_native_plan.pxi"
include "_native_pooling.pxi"
include "_native_recurrent.pxi"
include "_native_rows.pxi"
include "_native_runtime.pxi"
include "_native_steps.pxi"
include "_native_weighted.pxi"

__all__ = [
    name
    for name in list(globals())
    if not name.startswith("_") and name not in ("cnp", "cython", "Refused")
]
