/* The steps of a plan: ops with their arguments, run one after the other. Part of bncore.h, which includes it. */
#ifndef BNC_STEPS_H
#define BNC_STEPS_H

/* An activation, or its backward pass: from dy and what forward kept. */
typedef struct {
    const void *x, *kept;
    void *y;
    int64_t size;
    int kind;
    double slope;
} bnc_elementwise;

typedef struct {
    int64_t n, c, pixels;
    int channels_last;
    const void *dy;
    void *dbias;
} bnc_bias_gradient;

/* S(op, type of its arguments): ops that a plan can run. */
#define BNC_STEPS(S)                                \
    S(batch_norm_train, bnc_norm)                   \
    S(batch_norm_eval, bnc_norm)                    \
    S(normalize, bnc_norm)                          \
    S(batch_norm_backward, bnc_norm_gradient)       \
    S(norm_sums, bnc_norm_gradient)                 \
    S(input_gradient, bnc_norm_gradient)            \
    S(conv_chain, bnc_conv_chain)                   \
    S(conv_chain_backward, bnc_conv_chain_gradient) \
    S(copy, bnc_copy)                               \
    S(turn, bnc_transposition)                      \
    S(sum, bnc_sum)                                 \
    S(max_pool, bnc_pooling)                        \
    S(max_pool_backward, bnc_pooling)               \
    S(avg_pool, bnc_pooling)                        \
    S(avg_pool_backward, bnc_pooling)               \
    S(global_avg_pool, bnc_global_pooling)          \
    S(global_avg_pool_backward, bnc_global_pooling) \
    S(global_max_pool, bnc_global_pooling)          \
    S(global_max_pool_backward, bnc_global_pooling) \
    S(cross_entropy, bnc_cross_entropy)             \
    S(cross_entropy_backward, bnc_cross_entropy)

typedef enum {
#define BNC_STEP_KIND(op, type) BNC_STEP_##op,
    BNC_STEPS(BNC_STEP_KIND)
#undef BNC_STEP_KIND
        BNC_STEP_activation,
    BNC_STEP_activation_backward,
    BNC_STEP_conv_bias_gradient,
} bnc_step_kind;

typedef struct {
    bnc_step_kind kind;
    void *arguments; /* of the type that the list names; what results, a loss, is written there */
} bnc_step;

/* One after the other; the first error ends it. `nanoseconds` (count,), or NULL: how long each took. */
int bnc_run_steps(const bnc_ops *ops, const bnc_step *steps, int64_t count, int64_t *nanoseconds);

/* Memory of one thread: the steps of a piece of a batch, where they read it and where they leave its result. */
typedef struct {
    const bnc_step *steps;
    int64_t count;
    void *x;
    const void *y;
    int taken; /* 0 between calls */
} bnc_piece_place;

/* The same steps for all `samples`, `per` at a time, each piece on one thread; samples do not see each other. */
typedef struct {
    bnc_piece_place *places;
    int place_count;
    int64_t samples, per;
    int64_t work;            /* of all of them, in multiplications */
    size_t x_bytes, y_bytes; /* of one sample */
    const char *x;
    char *y;
} bnc_pieces;

int bnc_run_pieces(const bnc_ops *ops, const bnc_pieces *pieces);

#endif
