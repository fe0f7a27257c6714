/* The norms' ops, called from C and compared with loops in double: a test of the C core alone, for machines (emulated ones,
 * too) without Python. tools/check_aarch64.py builds and runs it. The suite proper is in Python. */
#include "problem.h"

#define MOMENTUM 0.25

/* Arguments of a forward and a backward call, and their results. */
typedef struct {
    void *x, *dy, *residual, *gamma, *beta, *y, *dx, *dresidual, *dgamma, *dbeta;
    double *mean, *inv_std;
} arrays;

static arrays open_arrays(const problem *p)
{
    const int f = p->f64;
    return (arrays){to_real(p->x, p->size, f),
                    to_real(p->dy, p->size, f),
                    to_real(p->residual, p->size, f),
                    to_real(p->gamma, p->params, f),
                    to_real(p->beta, p->params, f),
                    doubles(p->size),
                    doubles(p->size),
                    doubles(p->size),
                    doubles(p->params),
                    doubles(p->params),
                    doubles(p->groups),
                    doubles(p->groups)};
}
static void close_arrays(arrays *a)
{
    void *all[] = {a->x,  a->dy,        a->residual, a->gamma, a->beta, a->y,
                   a->dx, a->dresidual, a->dgamma,   a->dbeta, a->mean, a->inv_std};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}
static void compare(const problem *p, const arrays *a)
{
    const double few = tolerance(p->f64);
    if (p->centred) near("mean", a->mean, p->mean, p->groups, 1, few);
    near("y", a->y, p->y, p->size, p->f64, few);
    near("dx", a->dx, p->dx, p->size, p->f64, 4 * few);
    near("dgamma", a->dgamma, p->dgamma, p->params, p->f64, 4 * few);
    near("dbeta", a->dbeta, p->dbeta, p->params, p->f64, 4 * few);
    if (p->add) near("dresidual", a->dresidual, p->residual, p->size, p->f64, few);
}

static const bnc_ops *ops(int f64) { return f64 ? &bnc_ops_f64 : &bnc_ops_f32; }

static void statistics_and_evaluation(const problem *p, const arrays *a, bnc_norm norm)
{
    const int64_t c = p->params;
    const double m = (double)p->size / (double)c;
    double *mean = doubles(c), *m2 = doubles(c), *running = doubles(2 * c), *y = doubles(p->size);
    check("statistics", ops(p->f64)->statistics(&norm.shape, a->x, mean, m2) == BNC_OK, 0);
    for (int64_t j = 0; j < c; j++) m2[j] /= m;
    near("statistics' mean", mean, p->mean, c, 1, tolerance(p->f64));
    near("statistics' variance", m2, p->var, c, 1, tolerance(p->f64));
    for (int64_t j = 0; j < c; j++) running[j] = MOMENTUM * p->mean[j];
    for (int64_t j = 0; j < c; j++) running[c + j] = MOMENTUM * p->var[j] + 1 - MOMENTUM;
    near("running mean", norm.running_mean, running, c, p->f64, tolerance(p->f64));
    near("running variance", norm.running_var, running + c, c, p->f64, tolerance(p->f64));
    for (int64_t j = 0; j < 2 * c; j++)
        running[j] = at(j < c ? norm.running_mean : norm.running_var, j % c, p->f64);
    for (int64_t e = 0; e < p->size; e++) {
        const int64_t j = p->param[e];
        y[e] = p->gamma[j] * (p->x[e] - running[j]) / sqrt(running[c + j] + EPS) + p->beta[j];
    }
    norm.y = a->dresidual, norm.residual = 0, norm.relu = 0;
    check("evaluation", ops(p->f64)->batch_norm_eval(&norm) == BNC_OK, 0);
    near("y of evaluation", norm.y, y, p->size, p->f64, tolerance(p->f64));
    free(mean), free(m2), free(running), free(y);
}

static void batch_norm(int f64, int64_t n, int64_t c, int64_t s, int relu, int add)
{
    snprintf(what, sizeof what, "batch norm f%d (%d, %d, %d) relu %d add %d", f64 ? 64 : 32, (int)n,
             (int)c, (int)s, relu, add);
    problem p = new_problem(n * c * s, c, c, f64);
    p.relu = relu, p.add = add;
    for (int64_t e = 0; e < p.size; e++) p.group[e] = p.param[e] = e / s % c;
    fill(&p);
    double *ones = doubles(c), *sums = doubles(2 * c);
    for (int64_t j = 0; j < c; j++) ones[j] = 1;
    arrays a = open_arrays(&p), again;
    solve(&p);
    free(a.dy), a.dy = to_real(p.dy, p.size, f64);
    const bnc_shape shape = {.n = n, .c = c, .s = s, .slabs = s > 1};
    bnc_norm norm = {.shape = shape,
                     .x = a.x,
                     .residual = add ? a.residual : 0,
                     .y = a.y,
                     .gamma = a.gamma,
                     .beta = a.beta,
                     .running_mean = doubles(c),
                     .running_var = to_real(ones, c, f64),
                     .momentum = MOMENTUM,
                     .eps = EPS,
                     .relu = relu,
                     .mean = a.mean,
                     .inv_std = a.inv_std};
    bnc_norm_gradient gradient = {.shape = shape,
                                  .x = a.x,
                                  .dy = a.dy,
                                  .y = add ? a.y : 0,
                                  .gamma = a.gamma,
                                  .beta = a.beta,
                                  .mean = a.mean,
                                  .inv_std = a.inv_std,
                                  .relu = relu,
                                  .batch = 1,
                                  .dx = a.dx,
                                  .dresidual = add ? a.dresidual : 0,
                                  .dgamma = a.dgamma,
                                  .dbeta = a.dbeta,
                                  .sum_g = sums,
                                  .sum_gx = sums + c,
                                  .count = (double)(n * s)};
    check("forward", ops(f64)->batch_norm_train(&norm) == BNC_OK, 0);
    check("backward", ops(f64)->batch_norm_backward(&gradient) == BNC_OK, 0);
    compare(&p, &a);
    statistics_and_evaluation(&p, &a, norm);
    free(norm.running_mean), free(norm.running_var);
    again = open_arrays(&p); /* the same bits on three threads */
    bnc_force_threads(3);
    norm.y = again.y, norm.running_mean = norm.running_var = 0;
    gradient.dx = again.dx, gradient.dgamma = again.dgamma;
    ops(f64)->batch_norm_train(&norm), ops(f64)->batch_norm_backward(&gradient);
    bnc_force_threads(1);
    const size_t bytes = (size_t)p.size * (f64 ? 8 : 4);
    check("bits of y", memcmp(a.y, again.y, bytes) == 0, 0);
    check("bits of dx", memcmp(a.dx, again.dx, bytes) == 0, 0);
    check("bits of dgamma", memcmp(a.dgamma, again.dgamma, (size_t)c * (f64 ? 8 : 4)) == 0, 0);
    close_arrays(&a), close_arrays(&again), free_problem(&p), free(ones), free(sums);
}

static void rows_norm(int f64, int64_t rows, int64_t d, int centred, int relu)
{
    snprintf(what, sizeof what, "%s norm f%d (%d, %d) relu %d", centred ? "layer" : "RMS",
             f64 ? 64 : 32, (int)rows, (int)d, relu);
    problem p = new_problem(rows * d, rows, d, f64);
    p.relu = relu, p.centred = centred;
    for (int64_t e = 0; e < p.size; e++) p.group[e] = e / d, p.param[e] = e % d;
    fill(&p);
    solve(&p);
    arrays a = open_arrays(&p);
    const int64_t squared = centred ? 0 : d;
    double *mean = centred ? a.mean : 0;
    const bnc_rows norm = {.rows = rows,
                           .d = d,
                           .squared = squared,
                           .x = a.x,
                           .y = a.y,
                           .gamma = a.gamma,
                           .beta = a.beta,
                           .eps = EPS,
                           .relu = relu,
                           .mean = mean,
                           .inv_std = a.inv_std};
    const bnc_rows_gradient gradient = {.rows = rows,
                                        .d = d,
                                        .squared = squared,
                                        .x = a.x,
                                        .dy = a.dy,
                                        .gamma = a.gamma,
                                        .beta = a.beta,
                                        .mean = mean,
                                        .inv_std = a.inv_std,
                                        .relu = relu,
                                        .dx = a.dx,
                                        .dgamma = a.dgamma,
                                        .dbeta = a.dbeta};
    check("forward", ops(f64)->rows_norm(&norm) == BNC_OK, 0);
    check("backward", ops(f64)->rows_norm_backward(&gradient) == BNC_OK, 0);
    compare(&p, &a);
    close_arrays(&a), free_problem(&p);
}

static void group_norm(int f64, int64_t n, int64_t a_, int64_t c, int64_t s, int64_t groups)
{
    snprintf(what, sizeof what, "group norm f%d (%d, %d, %d, %d) groups %d", f64 ? 64 : 32, (int)n,
             (int)a_, (int)c, (int)s, (int)groups);
    problem p = new_problem(n * a_ * c * s, n * groups, c, f64);
    for (int64_t e = 0; e < p.size; e++) {
        p.param[e] = e / s % c;
        p.group[e] = e / (a_ * c * s) * groups + p.param[e] / (c / groups);
    }
    fill(&p);
    solve(&p);
    arrays a = open_arrays(&p);
    const bnc_group_norm norm = {.n = n,
                                 .a = a_,
                                 .c = c,
                                 .s = s,
                                 .groups = groups,
                                 .x = a.x,
                                 .y = a.y,
                                 .gamma = a.gamma,
                                 .beta = a.beta,
                                 .eps = EPS,
                                 .mean = a.mean,
                                 .inv_std = a.inv_std};
    const bnc_group_norm_gradient gradient = {.n = n,
                                              .a = a_,
                                              .c = c,
                                              .s = s,
                                              .groups = groups,
                                              .x = a.x,
                                              .dy = a.dy,
                                              .gamma = a.gamma,
                                              .beta = a.beta,
                                              .mean = a.mean,
                                              .inv_std = a.inv_std,
                                              .dx = a.dx,
                                              .dgamma = a.dgamma,
                                              .dbeta = a.dbeta};
    check("forward", ops(f64)->group_norm(&norm) == BNC_OK, 0);
    check("backward", ops(f64)->group_norm_backward(&gradient) == BNC_OK, 0);
    compare(&p, &a);
    close_arrays(&a), free_problem(&p);
}

int main(void)
{
    static const int shapes[][3] = {{64, 5, 1},    {300, 64, 1}, {37, 100, 1}, {40, 300, 1},
                                    {16, 2100, 1}, {9, 16, 49},  {4, 8, 784},  {3, 3, 5000},
                                    {2, 40, 3},    {50, 1, 21}};
    static const int rows[][2] = {{33, 64}, {20, 768}, {7, 5000}, {5, 3}, {70, 17}};
    if (bnc_runtime_start()) return 2;
    bnc_force_threads(1);
    for (int isa = 0; isa < bnc_isa_count(); isa++) {
        const int selected = bnc_isa_select(isa) == 0;
        check("an instruction set is there or refused", selected == bnc_isa_available(isa), isa);
        if (!selected) continue;
        printf("%s\n", bnc_isa_name(isa));
        for (int f64 = 0; f64 < 2; f64++) {
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                for (int kind = 0; kind < 3; kind++) /* plain, ReLU, add + ReLU */
                    batch_norm(f64, shapes[i][0], shapes[i][1], shapes[i][2], kind > 0, kind > 1);
            for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
                for (int kind = 0; kind < 4; kind++)
                    rows_norm(f64, rows[i][0], rows[i][1], kind & 1, kind >> 1);
            group_norm(f64, 4, 1, 12, 65, 3), group_norm(f64, 3, 50, 24, 1, 6);
            group_norm(f64, 5, 1, 8, 20, 8), group_norm(f64, 2, 30, 40, 1, 1);
        }
    }
    printf("%d of %d checks failed\n", failures, checks);
    return failures != 0;
}
