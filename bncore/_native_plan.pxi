# What norms would choose for arrays of some shape (`bncore info --plan`); nothing runs.

def norm_plan(str op, int64_t n, int64_t c, int64_t s, bint double_, bint residual):
    """Choices of "forward", "evaluation" or "backward" on an array (n, c, s): bnc_norm_plan.

    residual: with a fused add + ReLU. No size may be 0.
    """
    cdef const bnc_ops* ops = &bnc_ops_f64 if double_ else &bnc_ops_f32
    cdef bnc_norm_plan plan
    cdef bnc_norm forward
    cdef bnc_norm_gradient backward
    cdef void* there = &plan  # stands for an array: ops ask only which there are
    if op == "backward":
        memset(&backward, 0, sizeof(backward))
        backward.shape.n, backward.shape.c, backward.shape.s = n, c, s
        backward.batch = True
        backward.relu = residual
        if residual:
            backward.y = backward.dresidual = there
        ops.norm_backward_plan(&backward, &plan)
    else:
        memset(&forward, 0, sizeof(forward))
        forward.shape.n, forward.shape.c, forward.shape.s = n, c, s
        forward.relu = residual
        if residual:
            forward.residual = there
        ops.norm_plan(&forward, op == "forward", &plan)
    return plan


def rows_plan(str op, int64_t rows, int64_t d, bint double_):
    """Choices of layer or RMS norm, "forward" or "backward", on an array (rows, d): bnc_rows_plan.

    No size may be 0.
    """
    cdef const bnc_ops* ops = &bnc_ops_f64 if double_ else &bnc_ops_f32
    cdef bnc_rows_plan plan
    ops.rows_plan(rows, d, op == "backward", &plan)
    return plan


def group_plan(str op, int64_t n, int64_t a, int64_t c, int64_t s, int64_t groups, bint double_):
    """Choices of group norm, "forward" or "backward", on an array (n, a, c, s): bnc_group_plan.

    No size may be 0; `groups` divides c.
    """
    cdef const bnc_ops* ops = &bnc_ops_f64 if double_ else &bnc_ops_f32
    cdef bnc_group_plan plan
    ops.group_plan(n, a, c, s, groups, op == "backward", &plan)
    return plan
