/* What an op would choose for arrays of some shape, without running: the ops' own functions are asked (norm_layout.h,
 * norm_elementwise.h, plan.h). Not here: any rule. */
#include "norm_elementwise.h"
#include "norm_reduce.h"

static const bnc_norm_thresholds thresholds = {
    .lanes = BNC_LANES,
    .full_width = BNC_FULL_WIDTH,
    .whole = BNC_WHOLE,
    .whole_below = BNC_WHOLE_BELOW,
    .whole_from = BNC_WHOLE_FROM,
    .few_channels = BNC_FEW_CHUNKS,
    .most_partials = BNC_MAX_PARTIALS,
    .chunk = BNC_CHUNK,
    .grain = BNC_GRAIN,
};

/* The chunks in which values are reduced to results per channel. */
static void plan_reduction(bnc_norm_plan *p, const bnc_shape *shape, const bnc_layout *l,
                           int arrays)
{
    p->reduces = 1;
    p->by_channels = bnc_by_channels(shape, l);
    p->reduced_bytes = bnc_reduction_bytes(shape, arrays);
    p->near_bytes = bnc_near_bytes();
    p->far = l->columns && bnc_far(p->reduced_bytes); /* slabs are one stream each */
    p->chunks = bnc_reduction_chunks(l);
    p->partials = l->partials;
    p->n_per = bnc_min(l->columns ? l->chunk_rows : l->n_per, l->columns ? l->rows : l->n);
    p->s_per = l->columns ? l->s : bnc_min(l->s_per, l->s);
    p->c_per = l->columns ? l->c : l->c_per;
}

/* `reduced`: arrays that the reduction reads, 0 for none; `arrays`: those of the element-wise pass. */
static void plan(bnc_norm_plan *p, const bnc_shape *shape, int reduced, int arrays)
{
    const bnc_layout l = bnc_reduction_layout(shape);
    const int64_t values = bnc_values(shape);
    const int threads = bnc_threads_at_most(values, BNC_GRAIN);
    *p = (bnc_norm_plan){
        .n = l.n,
        .c = l.c,
        .s = l.s,
        .columns = l.columns,
        .joined = l.joined,
        .width = l.width,
        .pass_chunks = bnc_pass_chunks(&l),
        .threads = threads,
        .limit = bnc_thread_limit(),
        .little = bnc_is_little(values, BNC_GRAIN),
        .array_bytes = bnc_pass_bytes(&l, 1),
        .bytes = bnc_pass_bytes(&l, arrays),
        .cache_share = bnc_cache_share(threads),
        .streaming = bnc_streams(bnc_pass_bytes(&l, arrays), threads),
        .at = thresholds,
    };
    if (reduced) plan_reduction(p, shape, &l, reduced);
    if (p->by_channels) p->pass_chunks = p->chunks;
}

int BNC_OP(norm_plan)(const bnc_norm *a, int training, bnc_norm_plan *p)
{
    plan(p, &a->shape, training ? 1 : 0, bnc_forward_arrays(a));
    return BNC_OK;
}

int BNC_OP(norm_backward_plan)(const bnc_norm_gradient *a, bnc_norm_plan *p)
{
    plan(p, &a->shape, bnc_sums_arrays(a), bnc_backward_arrays(a));
    return BNC_OK;
}
