/* What group and instance norm would choose for an array (n, a, c, s), without running: the functions of group_tiles.h,
 * norm_elementwise.h and plan.h are asked, for the first tile, which none exceeds. Not here: any rule. */
#include "group_tiles.h"
#include "norm_reduce.h"

static const bnc_group_thresholds thresholds = {
    .chunk = BNC_CHUNK,
    .most_partials = BNC_MAX_PARTIALS,
    .few_chunks = BNC_FEW_CHUNKS,
    .short_group = BNC_SHORT_GROUP,
    .one_thread = BNC_ONE_THREAD,
    .grain = BNC_GRAIN,
};

/* How the pass walks a sample's part of the tile: y that no kernel makes directly is left to `normalize`. */
static bnc_layout pass_layout(const bnc_group_grid *g, const bnc_tile *t, int backward)
{
    const bnc_shape part = {.n = g->a, .c = t->channels, .s = g->s};
    if (backward || bnc_tile_direct(g, t)) return bnc_tile_layout(g, t->channels);
    return bnc_pass_layout(&part);
}

/* The chunks in which batch norm's ops reduce a tile: its groups' runs, or channels; 1 where kernels do. */
static int64_t reduction_chunks(const bnc_group_grid *g, const bnc_tile *t, int backward)
{
    const bnc_shape runs = {.n = 1, .c = t->items * t->groups, .s = g->values};
    const bnc_shape part = {.n = g->a, .c = t->channels, .s = g->s};
    if (backward ? bnc_tile_direct(g, t) : bnc_groups_turned(g)) return 1;
    const bnc_layout l = bnc_reduction_layout(!backward && g->a == 1 ? &runs : &part);
    return bnc_reduction_chunks(&l);
}

/* The element-wise pass over a sample's part of the tile, and its stores: a direct tile's follow from the whole call. */
static void plan_pass(bnc_group_plan *p, const bnc_group_grid *g, const bnc_tile *t,
                      const bnc_layout *l)
{
    const int arrays = p->backward ? 3 : 2;
    p->columns = l->columns;
    p->width = l->width;
    p->slab = l->s;
    p->part = l->n * l->c * l->s;
    p->pass_chunks = p->direct ? 1 : bnc_pass_chunks(l);
    p->pass_threads = bnc_threads_at_most(p->direct ? g->n * g->item : p->part, BNC_GRAIN);
    p->bytes =
        p->direct ? arrays * g->n * g->item * (int64_t)sizeof(bnc_real) : bnc_pass_bytes(l, arrays);
    p->cache_share = bnc_cache_share(p->pass_threads);
    p->streaming = p->direct ? bnc_group_streams(g, t, 0, arrays, p->pass_threads)
                             : bnc_streams(p->bytes, p->pass_threads);
}

int BNC_OP(group_plan)(int64_t n, int64_t a, int64_t c, int64_t s, int64_t groups, int backward,
                       bnc_group_plan *p)
{
    const bnc_group_grid g = bnc_group_grid_of(n, a, c, s, groups);
    const bnc_tile t = bnc_tile_at(&g, 0, 0);
    const bnc_layout l = pass_layout(&g, &t, backward);
    *p = (bnc_group_plan){
        .n = n,
        .a = a,
        .c = c,
        .s = s,
        .groups = groups,
        .backward = backward,
        .tile_items = backward ? 1 : t.items,
        .tile_groups = t.groups,
        .chunk_items = bnc_min(g.chunk_items, n),
        .blocks = g.blocks,
        .group_blocks = g.group_blocks,
        .chunks = bnc_group_chunks(&g),
        .turned = bnc_groups_turned(&g),
        .merged = bnc_groups_merged(&g),
        .reduction_chunks = reduction_chunks(&g, &t, backward),
        .direct = bnc_tile_direct(&g, &t),
        .inside = bnc_group_inside(&g),
        .limit = bnc_thread_limit(),
        .at = thresholds,
    };
    plan_pass(p, &g, &t, &l);
    const int64_t shared = p->inside ? p->part : n * g.item;
    p->threads = bnc_threads_at_most(shared, BNC_GRAIN);
    p->little = bnc_is_little(shared, BNC_GRAIN);
    return BNC_OK;
}
