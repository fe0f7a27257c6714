/* The one list of kernels: K(name, arguments). It makes the prototypes, the table's members and the table itself, so
 * that a drifted signature does not compile. A kernel handles contiguous runs on one thread; it neither allocates nor
 * chooses. Included several times with different definitions of K, hence no guard. */

/* norm_moments.c: mean and sum of squared deviations of a block */
K(columns_moments, (const bnc_real *x, int64_t ld, int64_t rows, int64_t c, double *mean, double *m2))
K(slabs_moments, (const bnc_real *x, int64_t count, int64_t stride, int64_t len, double *mean, double *m2))
K(merge_moments, (int64_t c, double n1, double *mean1, double *m2_1, double n2, const double *mean2, const double *m2_2))
/* norm_coefficients.c: statistics -> what the element-wise passes need */
K(forward_coefficients, (int64_t c, const double *mean, const double *inv_std, const bnc_real *gamma,
                         const bnc_real *beta, bnc_real *hi, bnc_real *lo, bnc_real *scale, bnc_real *shift))
K(finish_statistics, (int64_t c, double m, double momentum, double eps, int unbiased, const double *mean,
                      double *m2_to_inv_std, bnc_real *running_mean, bnc_real *running_var))
K(inverse_std, (int64_t c, double eps, const bnc_real *mean, const bnc_real *var, double *mean64, double *inv_std))
/* norm_normalize.c: y = act((x - mean) scale + shift [+ residual]) */
K(columns_normalize, (const bnc_real *x, const bnc_real *residual, bnc_real *y, int64_t rows, int64_t c,
                      const struct bnc_coefficients *k, int relu))
K(slabs_normalize, (const bnc_real *x, const bnc_real *residual, bnc_real *y, int64_t count, int64_t s,
                    const struct bnc_coefficients *k, int relu))
/* norm_gradient_sums.c: sum of g and of g x_hat, added to the doubles given */
K(columns_gradient_sums, (const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t rows, int64_t c,
                          const struct bnc_coefficients *k, int relu, double *sum_g, double *sum_gx))
K(slabs_gradient_sums, (const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t count, int64_t stride,
                        int64_t len, const struct bnc_coefficients *k, int64_t channel, int relu, double *sum_g,
                        double *sum_gx))
/* norm_input_gradient.c: dx = (g - mean_g - x_hat mean_gx) scale */
K(columns_input_gradient, (const bnc_real *x, const bnc_real *dy, const bnc_real *y, bnc_real *dx,
                           bnc_real *dresidual, int64_t rows, int64_t c, const struct bnc_coefficients *k, int relu))
K(slabs_input_gradient, (const bnc_real *x, const bnc_real *dy, const bnc_real *y, bnc_real *dx, bnc_real *dresidual,
                         int64_t count, int64_t s, const struct bnc_coefficients *k, int relu))
/* gemm.c: C = A B or C += A B */
K(gemm, (int transposed, const bnc_real *a, int64_t lda, const bnc_real *b, int64_t ldb, bnc_real *c, int64_t ldc,
         int64_t m, int64_t n, int64_t k, int add))
/* copies.c: what a convolution moves around its products */
K(copy_rows, (const bnc_real *src, int64_t src_pitch, int64_t src_step, bnc_real *dst, int64_t dst_pitch, int64_t rows,
              int64_t n))
K(add_rows, (const bnc_real *src, int64_t src_pitch, bnc_real *dst, int64_t dst_pitch, int64_t dst_step, int64_t rows,
             int64_t n))
K(transpose, (const bnc_real *src, int64_t src_pitch, int64_t src_step, bnc_real *dst, int64_t dst_pitch, int64_t rows,
              int64_t columns))
K(bias_relu, (bnc_real *y, const bnc_real *bias, int64_t bias_step, int64_t n, int relu))
K(relu_gradient, (const bnc_real *dy, const bnc_real *y, bnc_real *g, int64_t n))
