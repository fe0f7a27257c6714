/* Runs the steps of a plan. */
#include "team.h"

static int run_activation(const bnc_ops *ops, const bnc_elementwise *a)
{ return ops->activation(a->x, a->y, a->size, a->kind, a->slope); }

static int run_activation_backward(const bnc_ops *ops, const bnc_elementwise *a)
{ return ops->activation_backward(a->x, a->kept, a->y, a->size, a->kind, a->slope); }

static int run_bias_gradient(const bnc_ops *ops, const bnc_bias_gradient *a)
{ return ops->conv_bias_gradient(a->n, a->c, a->pixels, a->channels_last, a->dy, a->dbias); }

static int run_step(const bnc_ops *ops, const bnc_step *s)
{
    switch (s->kind) {
#define BNC_STEP_CASE(op, type) \
    case BNC_STEP_##op: return ops->op((type *)s->arguments);
        BNC_STEPS(BNC_STEP_CASE)
#undef BNC_STEP_CASE
    case BNC_STEP_activation: return run_activation(ops, s->arguments);
    case BNC_STEP_activation_backward: return run_activation_backward(ops, s->arguments);
    case BNC_STEP_conv_bias_gradient: return run_bias_gradient(ops, s->arguments);
    }
    return BNC_OK;
}

int bnc_run_steps(const bnc_ops *ops, const bnc_step *steps, int64_t count, int64_t *nanoseconds)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t begin = nanoseconds ? bnc_nanoseconds() : 0;
        const int error = run_step(ops, steps + i);
        if (error) return error;
        if (nanoseconds) nanoseconds[i] = bnc_nanoseconds() - begin;
    }
    return BNC_OK;
}
