/* What layer and RMS norm would choose for rows of some length, without running: the functions of rows_layout.h and plan.h
 * are asked. Not here: any rule. */
#include "rows_layout.h"

int BNC_OP(rows_plan)(int64_t rows, int64_t d, int backward, bnc_rows_plan *p)
{
    const int64_t values = rows * d, per = bnc_rows_per_chunk(rows, d, backward);
    const int threads = bnc_threads_at_most(values, BNC_GRAIN), arrays = backward ? 3 : 2;
    const int cut = bnc_rows_cut(rows, d, backward);
    *p = (bnc_rows_plan){
        .rows = rows,
        .d = d,
        .cut = cut,
        .pieces = cut ? bnc_ceil_div(d, BNC_ROW_PIECE) : 1,
        .rows_per = cut ? 1 : per,
        .chunks = cut ? rows : bnc_ceil_div(rows, per),
        .group = cut ? 1 : bnc_min(per, bnc_row_group(d, backward)),
        .threads = threads,
        .limit = bnc_thread_limit(),
        .little = bnc_is_little(values, BNC_GRAIN),
        .bytes = arrays * values * (int64_t)sizeof(bnc_real),
        .cache_share = bnc_cache_share(threads),
        .streaming = bnc_rows_stream(0, rows, d, arrays, threads),
        .at = {.long_row = BNC_LONG_ROW,
               .few_rows = BNC_FEW_ROWS,
               .piece = BNC_ROW_PIECE,
               .chunk = BNC_ROW_CHUNK,
               .group = BNC_ROW_GROUP,
               .lines = BNC_ROW_LINES,
               .grain = BNC_GRAIN},
    };
    return BNC_OK;
}
