/* What the C tests of the norms compare with: data, the formulas in double, and checks that count. Included once. */
#ifndef BNC_PROBLEM_H
#define BNC_PROBLEM_H

#include "bncore.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPS 1e-5

/* Element e is normalized with those of its `group`, and has gamma and beta number `param`. */
typedef struct {
    int64_t size, groups, params, *group, *param;
    int f64, centred, relu, add;
    double *x, *dy, *residual, *gamma, *beta;
    double *mean, *var, *y, *dx, *dgamma, *dbeta; /* what the formulas give */
} problem;

static int failures, checks;
static char what[200];

static void check(const char *name, int right, double error)
{
    checks++;
    if (right) return;
    failures++;
    printf("FAILED: %s, %s: %g\n", what, name, error);
}

static void *memory(int64_t n, size_t each)
{
    void *p = calloc((size_t)n + 1, each);
    if (!p) abort();
    return p;
}
static double *doubles(int64_t n) { return memory(n, sizeof(double)); }

/* Values as the op sees them, and back: size n, freed by the caller. */
static void *to_real(const double *v, int64_t n, int f64)
{
    if (f64) return memcpy(doubles(n), v, (size_t)n * sizeof *v);
    float *out = memory(n, sizeof *out);
    for (int64_t i = 0; i < n; i++) out[i] = (float)v[i];
    return out;
}
static double at(const void *p, int64_t i, int f64)
{ return f64 ? ((const double *)p)[i] : (double)((const float *)p)[i]; }

/* Largest difference relative to the largest expected magnitude. */
static void near(const char *name, const void *got, const double *want, int64_t n, int f64,
                 double tolerance)
{
    double error = 0, scale = 1e-300;
    for (int64_t i = 0; i < n; i++) {
        const double difference = fabs(at(got, i, f64) - want[i]);
        error = difference <= error ? error : difference; /* NaN counts */
        if (fabs(want[i]) > scale) scale = fabs(want[i]);
    }
    check(name, error <= tolerance * scale, error / scale);
}
static double tolerance(int f64) { return f64 ? 1e-12 : 2e-6; }

static double uniform(void) /* in [-1, 1), a multiple of 2^-20 */
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(state >> 43) / 1048576.0 - 1;
}

static problem new_problem(int64_t size, int64_t groups, int64_t params, int f64)
{
    problem p = {.size = size, .groups = groups, .params = params, .f64 = f64, .centred = 1};
    p.group = memory(size, sizeof(int64_t)), p.param = memory(size, sizeof(int64_t));
    double **arrays[] = {&p.x, &p.dy, &p.residual, &p.y, &p.dx};
    for (int i = 0; i < 5; i++) *arrays[i] = doubles(size);
    p.gamma = doubles(params), p.beta = doubles(params);
    p.dgamma = doubles(params), p.dbeta = doubles(params);
    p.mean = doubles(groups), p.var = doubles(groups);
    return p;
}
static void free_problem(problem *p)
{
    void *all[] = {p->group, p->param, p->x, p->dy, p->residual, p->gamma, p->beta,
                   p->mean,  p->var,   p->y, p->dx, p->dgamma,   p->dbeta};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}
/* Data whose mean is some deviations from 0; every value is a float. */
static void fill(problem *p)
{
    for (int64_t i = 0; i < p->params; i++) {
        p->gamma[i] = (float)(1 + uniform() / 2);
        p->beta[i] = (float)uniform();
    }
    for (int64_t e = 0; e < p->size; e++) {
        p->x[e] = (float)(uniform() + uniform() + (double)(1 + p->group[e] % 5) * 3);
        p->residual[e] = (float)uniform();
        p->dy[e] = (float)(uniform() + 0.25);
    }
}

static void group_means(const problem *p, const double *v, double *mean)
{
    double *count = doubles(p->groups);
    for (int64_t g = 0; g < p->groups; g++) mean[g] = 0;
    for (int64_t e = 0; e < p->size; e++) mean[p->group[e]] += v[e], count[p->group[e]]++;
    for (int64_t g = 0; g < p->groups; g++) mean[g] /= count[g];
    free(count);
}

/* The formulas. Where the ReLU's argument is within rounding of 0 dy becomes 0, so that either decision is right. */
static void solve(problem *p)
{
    double *hat = doubles(p->size), *w = doubles(p->size), *inv = doubles(p->groups),
           *mean_w = doubles(p->groups), *mean_wx = doubles(p->groups);
    if (p->centred) group_means(p, p->x, p->mean);
    for (int64_t e = 0; e < p->size; e++) w[e] = pow(p->x[e] - p->mean[p->group[e]], 2);
    group_means(p, w, p->var);
    for (int64_t g = 0; g < p->groups; g++) inv[g] = 1 / sqrt(p->var[g] + EPS);
    for (int64_t e = 0; e < p->size; e++) {
        const int64_t c = p->param[e], g = p->group[e];
        hat[e] = (p->x[e] - p->mean[g]) * inv[g];
        const double a = p->gamma[c] * hat[e] + p->beta[c] + (p->add ? p->residual[e] : 0);
        if (p->relu && fabs(a) < 1e-4) p->dy[e] = 0;
        const double open = p->relu && a <= 0 ? 0 : p->dy[e];
        p->y[e] = p->relu && a < 0 ? 0 : a;
        p->dx[e] = open; /* for now */
        p->dgamma[c] += open * hat[e], p->dbeta[c] += open;
        w[e] = open * p->gamma[c];
    }
    if (p->centred) group_means(p, w, mean_w);
    for (int64_t e = 0; e < p->size; e++) hat[e] *= w[e];
    group_means(p, hat, mean_wx);
    for (int64_t e = 0; e < p->size; e++) {
        const int64_t g = p->group[e];
        const double x_hat = (p->x[e] - p->mean[g]) * inv[g];
        p->residual[e] = p->dx[e]; /* its gradient, from here on */
        p->dx[e] = inv[g] * (w[e] - mean_w[g] - x_hat * mean_wx[g]);
    }
    free(hat), free(w), free(inv), free(mean_w), free(mean_wx);
}

#endif
