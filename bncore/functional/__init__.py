"""Operations on users' arrays: every one is a pair, ``y, saved = op(x, ...)`` and ``op_backward(dy, saved)``."""
