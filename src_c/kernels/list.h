/* The one list of kernels: K(name, arguments). It makes the prototypes, the table's members and the table itself, so
 * that a drifted signature does not compile. A kernel handles contiguous runs on one thread; it neither allocates nor
 * chooses. Included several times with different definitions of K, hence no guard. */

/* norm_moments.c, norm_moments_twice.c, norm_moments_slabs.c: mean and sum of squared deviations of a block */
K(columns_moments,
  (const bnc_real *x, int64_t ld, int64_t rows, int64_t c, double *mean, double *m2))
K(slabs_moments,
  (const bnc_real *x, int64_t count, int64_t stride, int64_t len, double *mean, double *m2))
K(columns_moments_near, (const bnc_real *x, int64_t ld, int64_t rows, int64_t c, const double *near,
                         int far, double *mean, double *m2))
K(slabs_moments_near, (const bnc_real *x, int64_t items, int64_t pitch, int64_t channels,
                       int64_t stride, int64_t len, const double *near, double *mean, double *m2))
K(columns_shift, (const bnc_real *x, int64_t ld, int64_t rows, int64_t c, double *near))
K(slabs_shift, (const bnc_real *x, int64_t channels, int64_t stride, int64_t len, double *near))
K(merge_moments, (int64_t c, double n1, double *mean1, double *m2_1, double n2, const double *mean2,
                  const double *m2_2))
/* weighted_moments.c: the same of weighted rows, in double */
K(weighted_moments, (const bnc_real *x, int64_t ld, int64_t rows, int64_t c, const double *w,
                     double total, const double *near, double *mean, double *m2))
K(fold_moments, (int64_t c, int64_t s, double n, const double *means, const double *m2s,
                 double *mean, double *m2))
/* norm_coefficients.c: statistics -> what the element-wise passes need */
K(forward_coefficients,
  (int64_t c, const double *mean, const double *inv_std, const double *r, const double *d,
   const bnc_real *gamma, const bnc_real *beta, bnc_real *hi, bnc_real *scale, bnc_real *shift))
K(gradient_coefficients,
  (int64_t c, double over, const double *mean, const double *inv_std, const double *sum_g,
   const double *sum_gx, bnc_real *slope, bnc_real *offset))
K(to_real, (int64_t n, const double *from, bnc_real *to))
K(centre_sums,
  (int64_t c, const double *mean, const double *inv_std, const double *sum_g, double *sum_gx))
K(finish_statistics,
  (int64_t c, double m, double momentum, double eps, int unbiased, const double *mean,
   double *m2_to_inv_std, bnc_real *running_mean, bnc_real *running_var))
K(renorm_statistics,
  (int64_t c, double m, double momentum, double eps, double r_max, double d_max, const double *mean,
   double *m2_to_inv_std, double *r, double *d, bnc_real *running_mean, bnc_real *running_std))
K(inverse_roots, (int64_t c, double *a))
K(inverse_std, (int64_t c, double eps, const bnc_real *mean, const bnc_real *var, double *mean64,
                double *inv_std))
/* norm_normalize.c: y = act((x - mean) scale + shift [+ residual]) of n elements from element `at` of a row or slab on */
K(columns_normalize,
  (const bnc_real *x, const bnc_real *residual, bnc_real *y, int64_t n, int64_t at, int64_t width,
   const struct bnc_coefficients *k, int relu, int streaming))
K(slabs_normalize,
  (const bnc_real *x, const bnc_real *residual, bnc_real *y, int64_t n, int64_t at, int64_t s,
   int64_t first, int64_t channels, const struct bnc_coefficients *k, int relu, int streaming))
/* norm_gradient_sums.c, norm_gradient_sums_slabs.c: sum of g and of g (x - hi) inv_std, added to the doubles given */
K(columns_gradient_sums,
  (const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t rows, int64_t c,
   const struct bnc_coefficients *k, int relu, int far, double *sum_g, double *sum_gx))
K(slabs_gradient_sums,
  (const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t items, int64_t pitch,
   int64_t channels, int64_t stride, int64_t len, const struct bnc_coefficients *k, int64_t first,
   int relu, double *sum_g, double *sum_gx))
/* norm_input_gradient.c: dx = (g - mean_g - x_hat mean_gx) scale */
K(columns_input_gradient,
  (const bnc_real *x, const bnc_real *dy, const bnc_real *y, bnc_real *dx, bnc_real *dresidual,
   int64_t n, int64_t at, int64_t width, const struct bnc_coefficients *k, int relu, int streaming))
K(slabs_input_gradient,
  (const bnc_real *x, const bnc_real *dy, const bnc_real *y, bnc_real *dx, bnc_real *dresidual,
   int64_t n, int64_t at, int64_t s, int64_t first, int64_t channels,
   const struct bnc_coefficients *k, int relu, int streaming))
/* group_means.c: what group norm's statistics are to channels, and channels' gradient sums to groups */
K(group_to_channels, (int64_t groups, int64_t channels, const double *mean, const double *inv_std,
                      double *channel_mean, double *channel_inv_std))
K(group_means, (int64_t groups, int64_t channels, double over, const double *mean,
                const double *inv_std, const bnc_real *gamma, const double *sum_g,
                const double *sum_gx, bnc_real *slope, bnc_real *offset))
/* group_input_gradient.c: dx = (g gamma - mean_w - x_hat mean_wx) inv_std; k's slope and offset are those of w = g gamma */
K(columns_group_gradient,
  (const bnc_real *x, const bnc_real *dy, bnc_real *dx, int64_t n, int64_t at, int64_t width,
   const bnc_real *gamma, const struct bnc_coefficients *k, int relu, int streaming))
K(slabs_group_gradient, (const bnc_real *x, const bnc_real *dy, bnc_real *dx, int64_t n, int64_t at,
                         int64_t s, int64_t first, int64_t channels, const bnc_real *gamma,
                         const struct bnc_coefficients *k, int relu, int streaming))
/* rows_statistics.c: per row of a block; `ld` is the row pitch */
K(rows_moments,
  (const bnc_real *x, int64_t ld, int64_t rows, int64_t width, double *mean, double *m2))
K(rows_squares, (const bnc_real *x, int64_t ld, int64_t rows, int64_t width, double *sum))
/* rows_normalize.c: y = act(x_hat gamma + beta); with `stream` past the caches: rows_fence ends a chunk of such calls */
K(rows_normalize, (const bnc_real *x, bnc_real *y, int64_t ld, int64_t rows, int64_t width,
                   const struct bnc_row_terms *k, int relu, int stream))
K(rows_fence, (void))
/* rows_gradient.c: sums per row of w = g gamma and w x_hat, per column of g and g x_hat; dx */
K(rows_gradient_sums,
  (const bnc_real *x, const bnc_real *dy, int64_t ld, int64_t rows, int64_t width,
   const struct bnc_row_terms *k, int relu, double *sum_w, double *sum_wx))
K(rows_input_gradient, (const bnc_real *x, const bnc_real *dy, bnc_real *dx, int64_t ld,
                        int64_t rows, int64_t width, const struct bnc_row_terms *k, int relu,
                        int64_t next, int stream, bnc_real *column_g, bnc_real *column_gx))
K(move_sums, (bnc_real * from, int64_t n, double *to))
/* rows_narrow.c: the same of rows shorter than a vector */
K(narrow_moments,
  (const bnc_real *x, int64_t ld, int64_t rows, int64_t width, double *mean, double *m2))
K(narrow_normalize, (const bnc_real *x, bnc_real *y, int64_t ld, int64_t rows, int64_t width,
                     const struct bnc_row_terms *k, int relu))
K(narrow_gradient_sums,
  (const bnc_real *x, const bnc_real *dy, int64_t ld, int64_t rows, int64_t width,
   const struct bnc_row_terms *k, int relu, double *sum_w, double *sum_wx))
K(narrow_input_gradient,
  (const bnc_real *x, const bnc_real *dy, bnc_real *dx, int64_t ld, int64_t rows, int64_t width,
   const struct bnc_row_terms *k, int relu, bnc_real *column_g, bnc_real *column_gx))
/* gemm.c: C = A B or C += A B */
K(gemm, (int transposed, const bnc_real *a, int64_t lda, const bnc_real *b, int64_t ldb,
         bnc_real *c, int64_t ldc, int64_t m, int64_t n, int64_t k, int add))
/* conv_row.c: output pixels from packed weights, in blocks of so many channels; conv_weight_sums.c: the weights' gradients */
K(conv_block, (int64_t *channels))
K(conv_row, (const struct bnc_conv_row *r, const bnc_real *x, const bnc_real *w, bnc_real *y))
K(conv_weight_sums, (const struct bnc_conv_pixels *p, const bnc_real *x, const bnc_real *dy,
                     int64_t taps, bnc_real *sums))
/* depthwise.c: places and weights of taps alternate in r->at */
K(depthwise_row, (const struct bnc_conv_row *r, const bnc_real *x, const bnc_real *w, bnc_real *y))
K(depthwise_weight_sums, (const struct bnc_conv_pixels *p, const bnc_real *x, int64_t taps,
                          int64_t x_tap, const bnc_real *dy, int64_t channels, bnc_real *sums))
/* winograd2.c, winograd4.c: transforms to and from 16, or 36, slabs of (tiles, channels) */
#define BNC_WINOGRAD_KERNELS(tile)                                                                 \
    K(tile##_input, (const bnc_real *x, int64_t row, int64_t channels, int64_t tiles, bnc_real *v, \
                     int64_t slab))                                                                \
    K(tile##_weight, (const bnc_real *g, int64_t pitch, int64_t out, bnc_real *u, int64_t slab))   \
    K(tile##_gradient, (const bnc_real *dy, int64_t row, int64_t channels, int64_t tiles,          \
                        bnc_real *z, int64_t slab))                                                \
    K(tile##_weight_gradient,                                                                      \
      (const bnc_real *u, int64_t slab, int64_t out, bnc_real *g, int64_t pitch))                  \
    K(tile##_output, (const bnc_real *m, int64_t slab, int64_t padded, int64_t channels,           \
                      int64_t rows, int64_t columns, bnc_real *y, int64_t row, int64_t step))
BNC_WINOGRAD_KERNELS(winograd2)
BNC_WINOGRAD_KERNELS(winograd4)
#undef BNC_WINOGRAD_KERNELS
/* copies.c: what a convolution moves around its products */
K(copy_rows, (const bnc_real *src, int64_t src_pitch, int64_t src_step, bnc_real *dst,
              int64_t dst_pitch, int64_t rows, int64_t n))
K(add, (const bnc_real *src, bnc_real *dst, int64_t n))
K(transpose, (const bnc_real *src, int64_t src_pitch, bnc_real *dst, int64_t dst_pitch,
              int64_t rows, int64_t columns))
K(finish_rows, (const bnc_real *src, int64_t src_pitch, const bnc_real *bias, int64_t bias_row,
                int64_t bias_step, const bnc_real *residual, bnc_real *dst, int64_t dst_pitch,
                int64_t rows, int64_t n, int relu))
K(spread, (bnc_real * a, int64_t c, int64_t s))
/* activation.c: y = f(x), dx = dy f'(x), the dropout mask; in place is allowed */
K(activation, (const bnc_real *x, bnc_real *y, int64_t n, int kind, bnc_real slope))
K(activation_backward,
  (const bnc_real *dy, const bnc_real *kept, bnc_real *dx, int64_t n, int kind, bnc_real slope))
K(mask_scale, (const bnc_real *x, const uint8_t *keep, bnc_real *y, int64_t n, bnc_real scale))
/* pool.c: runs of windows with the same taps; means and maxima over all of space */
K(max_pool,
  (const bnc_real *x, const struct bnc_taps *t, bnc_real *y, void *index, int wide, int64_t count))
K(max_pool_backward, (const bnc_real *dy, const void *index, int wide, const struct bnc_taps *t,
                      bnc_real *dx, int64_t count))
K(avg_pool,
  (const bnc_real *x, const struct bnc_taps *t, bnc_real divisor, bnc_real *y, int64_t count))
K(avg_pool_backward,
  (const bnc_real *dy, const struct bnc_taps *t, bnc_real divisor, bnc_real *dx, int64_t count))
K(slabs_mean, (const bnc_real *x, int64_t count, int64_t s, bnc_real *y))
K(columns_mean, (const bnc_real *x, int64_t ld, int64_t rows, int64_t c, bnc_real *y))
K(slabs_max, (const bnc_real *x, int64_t count, int64_t s, bnc_real *y, int64_t *index))
K(columns_max,
  (const bnc_real *x, int64_t ld, int64_t rows, int64_t c, bnc_real *y, int64_t *index))
/* gates.c: one time step of one row of a recurrent layer, and its gradients */
K(rnn_gates,
  (const bnc_real *a, const bnc_real *u, const bnc_real *bias, bnc_real *h, int64_t n, int relu))
K(rnn_gates_backward, (const bnc_real *h, const bnc_real *dh, bnc_real *d, int64_t n, int relu))
K(lstm_gates, (const bnc_real *a, const bnc_real *u, const bnc_real *bias, const bnc_real *c_before,
               bnc_real *gates, bnc_real *c, bnc_real *h, int64_t n))
K(lstm_gates_backward, (const bnc_real *gates, const bnc_real *c_before, const bnc_real *c,
                        const bnc_real *dh, bnc_real *dc, bnc_real *d, int64_t n))
K(gru_gates, (const bnc_real *a, const bnc_real *u, const bnc_real *bias, const bnc_real *h_before,
              bnc_real *gates, bnc_real *h, int64_t n))
K(gru_gates_backward, (const bnc_real *gates, const bnc_real *h_before, bnc_real *dh, bnc_real *d,
                       bnc_real *dhidden, int64_t n))
/* loss.c: sums over a block in double, and gradients times `scale` */
K(cross_entropy, (const bnc_real *z, const int64_t *target, int64_t rows, int64_t k,
                  double smoothing, bnc_real *shift, bnc_real *total, double *loss))
K(cross_entropy_backward,
  (const bnc_real *z, const int64_t *target, int64_t rows, int64_t k, double smoothing,
   const bnc_real *shift, const bnc_real *total, double scale, bnc_real *dz))
K(squared_error, (const bnc_real *pred, const bnc_real *target, int64_t n, double *loss))
K(squared_error_backward,
  (const bnc_real *pred, const bnc_real *target, int64_t n, double scale, bnc_real *dx))
K(bce, (const bnc_real *z, const bnc_real *t, int64_t n, double *loss))
K(bce_backward, (const bnc_real *z, const bnc_real *t, int64_t n, double scale, bnc_real *dz))
/* optimizer.c: steps in place */
K(sgd_step, (bnc_real * param, const bnc_real *grad, bnc_real *velocity, int64_t n, bnc_real lr,
             bnc_real momentum, int nesterov, bnc_real decay))
K(adamw_step,
  (bnc_real * param, const bnc_real *grad, bnc_real *m, bnc_real *v, int64_t n, bnc_real keep,
   double beta1, double beta2, bnc_real size, bnc_real root, bnc_real eps))
K(squared_sum, (const bnc_real *x, int64_t n, double *sum))
K(scale, (bnc_real * x, int64_t n, bnc_real factor))
