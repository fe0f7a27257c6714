# The ops of bncore.h as Cython sees them, and the choice of their dtype.

cdef extern from "bncore.h" nogil:
    ctypedef struct bnc_shape:
        int64_t n, c, s
        const int64_t* runs
        int64_t run_count
        int slabs
    ctypedef struct bnc_norm:
        bnc_shape shape
        const void* x
        const void* residual
        void* y
        const void* gamma
        const void* beta
        void* running_mean
        void* running_var
        double momentum, eps
        int unbiased, relu
        double* mean
        double* inv_std
        double* r
        double* d
        double r_max, d_max
    ctypedef struct bnc_norm_gradient:
        bnc_shape shape
        const void* x
        const void* dy
        const void* y
        const void* gamma
        const void* beta
        const double* mean
        const double* inv_std
        const double* r
        const double* d
        int relu, batch
        void* dx
        void* dresidual
        void* dgamma
        void* dbeta
        double* sum_g
        double* sum_gx
        double count
    ctypedef struct bnc_norm_thresholds:
        int64_t lanes, full_width, whole, whole_below, whole_from
        int64_t few_channels, most_partials, chunk, grain
    ctypedef struct bnc_norm_plan:
        int64_t n, c, s, joined, width, n_per, s_per, c_per, chunks, partials, pass_chunks
        int64_t reduced_bytes, near_bytes, array_bytes, bytes, cache_share
        int threads, limit
        bint columns, reduces, far, by_channels, little, streaming
        bnc_norm_thresholds at
    ctypedef struct bnc_rows_thresholds:
        int64_t long_row, few_rows, piece, chunk, group, lines, grain
    ctypedef struct bnc_rows_plan:
        int64_t rows, d, pieces, rows_per, chunks, group, bytes, cache_share
        int threads, limit
        bint cut, little, streaming
        bnc_rows_thresholds at
    ctypedef struct bnc_group_thresholds:
        int64_t chunk, most_partials, few_chunks, short_group, one_thread, grain
    ctypedef struct bnc_group_plan:
        int64_t n, a, c, s, groups, tile_items, tile_groups, chunk_items, blocks, group_blocks
        int64_t chunks, reduction_chunks, width, slab, part, pass_chunks, bytes, cache_share
        int threads, limit, pass_threads
        bint backward, turned, merged, direct, columns, inside, little, streaming
        bnc_group_thresholds at
    ctypedef struct bnc_group_norm:
        int64_t n, a, c, s, groups
        const void* x
        void* y
        const void* gamma
        const void* beta
        void* running_mean
        void* running_var
        double momentum, eps
        int unbiased, relu
        double* mean
        double* inv_std
    ctypedef struct bnc_group_norm_gradient:
        int64_t n, a, c, s, groups
        const void* x
        const void* dy
        const void* gamma
        const void* beta
        const double* mean
        const double* inv_std
        int relu
        void* dx
        void* dgamma
        void* dbeta
    ctypedef struct bnc_rows:
        int64_t rows, d, squared
        const void* x
        void* y
        const void* gamma
        const void* beta
        double eps
        int relu
        double* mean
        double* inv_std
    ctypedef struct bnc_rows_gradient:
        int64_t rows, d, squared
        const void* x
        const void* dy
        const void* gamma
        const void* beta
        const double* mean
        const double* inv_std
        int relu
        void* dx
        void* dgamma
        void* dbeta
    ctypedef struct bnc_pooling:
        int64_t n, c, h, w, h_out, w_out
        int64_t kernel[2]
        int64_t stride[2]
        int64_t padding[2]
        int channels_last, count_include_pad, wide
        const void* from_ "from"
        void* to
        void* index
    ctypedef struct bnc_global_pooling:
        int64_t n, c, s
        int channels_last
        const void* from_ "from"
        void* to
        int64_t* index
    ctypedef struct bnc_cross_entropy:
        int64_t n, k
        const void* logits
        const int64_t* target
        double smoothing, loss
        void* shift
        void* total
        void* dlogits
    ctypedef struct bnc_pair_loss:
        int64_t size
        const void* pred
        const void* target
        double loss
        void* dpred
    ctypedef struct bnc_optimizer:
        int64_t size, decayed, step
        void* param
        const void* grad
        void* velocity
        void* m
        void* v
        double lr, weight_decay, momentum, beta1, beta2, eps
        int nesterov
    ctypedef struct bnc_conv:
        int64_t n, ci, h, w, co, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw, groups
        int channels_last
    ctypedef struct bnc_conv_chain:
        bnc_conv g
        const void* x
        const bnc_norm* in_ "in"
        const void* weight
        const void* bias
        const void* residual
        const void* kept
        int relu
        void* y
        const bnc_norm* out
        int apply
    ctypedef struct bnc_conv_chain_gradient:
        bnc_conv g
        const void* x
        const bnc_norm* in_ "in"
        const void* weight
        const void* dy
        const bnc_norm_gradient* out
        void* dx
        const void* more
        const bnc_norm_gradient* front
        void* dweight
    ctypedef struct bnc_copy:
        const void* from_ "from"
        void* to
        int64_t rows, n, from_pitch, to_pitch
    ctypedef struct bnc_transposition:
        const void* from_ "from"
        void* to
        int64_t n, rows, columns
    ctypedef struct bnc_sum:
        const void* a
        const void* b
        void* y
        int64_t size
        int relu
    ctypedef struct bnc_elementwise:
        const void* x
        const void* kept
        void* y
        int64_t size
        int kind
        double slope
    ctypedef struct bnc_bias_gradient:
        int64_t n, c, pixels
        int channels_last
        const void* dy
        void* dbias
    ctypedef enum bnc_step_kind:
        BNC_STEP_batch_norm_train
        BNC_STEP_batch_norm_eval
        BNC_STEP_normalize
        BNC_STEP_batch_norm_backward
        BNC_STEP_norm_sums
        BNC_STEP_input_gradient
        BNC_STEP_conv_chain
        BNC_STEP_conv_chain_backward
        BNC_STEP_copy
        BNC_STEP_turn
        BNC_STEP_sum
        BNC_STEP_max_pool
        BNC_STEP_max_pool_backward
        BNC_STEP_avg_pool
        BNC_STEP_avg_pool_backward
        BNC_STEP_global_avg_pool
        BNC_STEP_global_avg_pool_backward
        BNC_STEP_global_max_pool
        BNC_STEP_global_max_pool_backward
        BNC_STEP_cross_entropy
        BNC_STEP_cross_entropy_backward
        BNC_STEP_activation
        BNC_STEP_activation_backward
        BNC_STEP_conv_bias_gradient
    ctypedef struct bnc_step:
        bnc_step_kind kind
        void* arguments
    ctypedef struct bnc_piece_place:
        const bnc_step* steps
        int64_t count
        void* x
        const void* y
        int taken
    ctypedef struct bnc_pieces:
        bnc_piece_place* places
        int place_count
        int64_t samples, per, work
        size_t x_bytes, y_bytes
        const char* x
        char* y
    ctypedef struct bnc_recurrent:
        int64_t n, m, units, y_pitch
        int kind, reverse
        const int64_t* lengths
        const void* products
        const void* weight
        const void* bias
        const void* h0
        const void* c0
        void* y
        void* gates
        void* cells
        void* hn
        void* cn
    ctypedef struct bnc_recurrent_gradient:
        int64_t n, m, units, y_pitch, dy_pitch
        int kind, reverse
        const int64_t* lengths
        const void* weight
        const void* h0
        const void* c0
        const void* y
        const void* gates
        const void* cells
        const void* dy
        const void* dhn
        const void* dcn
        void* dproducts
        void* dweight
        void* dbias
        void* dh0
        void* dc0
    ctypedef struct bnc_ops:
        int (*batch_norm_train)(const bnc_norm*) noexcept nogil
        int (*batch_renorm_train)(const bnc_norm*) noexcept nogil
        int (*batch_norm_eval)(const bnc_norm*) noexcept nogil
        int (*norm_constants)(const bnc_norm*) noexcept nogil
        int (*normalize)(const bnc_norm*) noexcept nogil
        int (*statistics)(const bnc_shape*, const void*, double*, double*) noexcept nogil
        int (*inverse_std)(int64_t, double, const double*, double*) noexcept nogil
        int (*weighted_statistics)(int64_t, int64_t, int64_t, const void*, const double*, double*,
                                   double*, double*) noexcept nogil
        int (*batch_norm_backward)(const bnc_norm_gradient*) noexcept nogil
        int (*gradient_sums)(const bnc_norm_gradient*) noexcept nogil
        int (*input_gradient)(const bnc_norm_gradient*) noexcept nogil
        int (*norm_plan)(const bnc_norm*, int, bnc_norm_plan*) noexcept nogil
        int (*norm_backward_plan)(const bnc_norm_gradient*, bnc_norm_plan*) noexcept nogil
        int (*rows_plan)(int64_t, int64_t, int, bnc_rows_plan*) noexcept nogil
        int (*group_plan)(int64_t, int64_t, int64_t, int64_t, int64_t, int,
                          bnc_group_plan*) noexcept nogil
        int (*group_norm)(const bnc_group_norm*) noexcept nogil
        int (*group_norm_backward)(const bnc_group_norm_gradient*) noexcept nogil
        int (*rows_norm)(const bnc_rows*) noexcept nogil
        int (*rows_norm_backward)(const bnc_rows_gradient*) noexcept nogil
        int (*conv)(const bnc_conv*, const void*, const void*, const void*, const void*, int,
                    void*) noexcept nogil
        int (*conv_transpose)(const bnc_conv*, const void*, const void*, const void*, const void*,
                              int, void*) noexcept nogil
        int (*conv_weight_gradient)(const bnc_conv*, const void*, const void*, void*) noexcept nogil
        int (*conv_keep)(const bnc_conv*, int, int64_t, const void*, void**) noexcept nogil
        int (*conv_bias_gradient)(int64_t, int64_t, int64_t, int, const void*, void*) noexcept nogil
        int (*activation)(const void*, void*, int64_t, int, double) noexcept nogil
        int (*activation_backward)(const void*, const void*, void*, int64_t, int,
                                   double) noexcept nogil
        int (*mask_scale)(const void*, const uint8_t*, void*, int64_t, double) noexcept nogil
        int (*max_pool)(const bnc_pooling*) noexcept nogil
        int (*max_pool_backward)(const bnc_pooling*) noexcept nogil
        int (*avg_pool)(const bnc_pooling*) noexcept nogil
        int (*avg_pool_backward)(const bnc_pooling*) noexcept nogil
        int (*global_avg_pool)(const bnc_global_pooling*) noexcept nogil
        int (*global_avg_pool_backward)(const bnc_global_pooling*) noexcept nogil
        int (*global_max_pool)(const bnc_global_pooling*) noexcept nogil
        int (*global_max_pool_backward)(const bnc_global_pooling*) noexcept nogil
        int (*cross_entropy)(bnc_cross_entropy*) noexcept nogil
        int (*cross_entropy_backward)(bnc_cross_entropy*) noexcept nogil
        int (*mse)(bnc_pair_loss*) noexcept nogil
        int (*mse_backward)(bnc_pair_loss*) noexcept nogil
        int (*bce_with_logits)(bnc_pair_loss*) noexcept nogil
        int (*bce_with_logits_backward)(bnc_pair_loss*) noexcept nogil
        int (*recurrent)(const bnc_recurrent*) noexcept nogil
        int (*recurrent_backward)(const bnc_recurrent_gradient*) noexcept nogil
        int (*sgd_step)(const bnc_optimizer*) noexcept nogil
        int (*adamw_step)(const bnc_optimizer*) noexcept nogil
        int (*squared_norm)(const void*, int64_t, double*) noexcept nogil
        int (*scale)(void*, int64_t, double) noexcept nogil
    const bnc_ops bnc_ops_f32, bnc_ops_f64
    int bnc_run_steps(const bnc_ops*, const bnc_step*, int64_t, int64_t*) noexcept
    int bnc_run_pieces(const bnc_ops*, const bnc_pieces*) noexcept

# Below this many elements an operation is over sooner than the GIL is handed on and back.
cdef int64_t KEEP_GIL = 8192


cdef inline const bnc_ops* ops_for(int dtype) noexcept nogil:
    return &bnc_ops_f64 if dtype == cnp.NPY_FLOAT64 else &bnc_ops_f32
