// Floating point, scalar and packed SSE2.
#include "bench.h"

#include <math.h>
#include <string.h>

static uint64_t bits(double value) {
    uint64_t result;
    memcpy(&result, &value, sizeof result);
    return result;
}

// Bodies that attract each other: scalar double precision with divisions and square roots.
uint64_t bench_nbody(void) {
    enum { bodies = 5, steps = 250000 };
    double position[bodies][3], velocity[bodies][3], mass[bodies];
    uint64_t state = 17;
    for (int i = 0; i < bodies; i++) {
        mass[i] = 1.0 + (double)(next_random(&state) >> 40) / (1 << 24);
        for (int axis = 0; axis < 3; axis++) {
            position[i][axis] = 10.0 * ((double)(next_random(&state) >> 40) / (1 << 24) - 0.5);
            velocity[i][axis] = (double)(next_random(&state) >> 40) / (1 << 24) - 0.5;
        }
    }
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < bodies; i++) {
            for (int j = i + 1; j < bodies; j++) {
                double d[3], square = 0.05;
                for (int axis = 0; axis < 3; axis++) {
                    d[axis] = position[i][axis] - position[j][axis];
                    square += d[axis] * d[axis];
                }
                double pull = 0.001 / (square * sqrt(square));
                for (int axis = 0; axis < 3; axis++) {
                    velocity[i][axis] -= d[axis] * mass[j] * pull;
                    velocity[j][axis] += d[axis] * mass[i] * pull;
                }
            }
        }
        for (int i = 0; i < bodies; i++) {
            for (int axis = 0; axis < 3; axis++) position[i][axis] += 0.001 * velocity[i][axis];
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < bodies; i++) sum = mix(sum, bits(position[i][0]) ^ bits(velocity[i][2]));
    return sum;
}

typedef double pair __attribute__((vector_size(16)));

// Matrix product on pairs of doubles: packed SSE2.
uint64_t bench_matrix(void) {
    enum { n = 288 };
    static pair a[n][n / 2], b[n][n / 2], c[n][n / 2];
    uint64_t state = 23, sum = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n / 2; j++) {
            a[i][j] = (pair){(double)(next_random(&state) >> 50), (double)(next_random(&state) >> 50)};
            b[i][j] = (pair){(double)(next_random(&state) >> 50), (double)(next_random(&state) >> 50)};
            c[i][j] = (pair){0, 0};
        }
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n; k++) {
            double one = a[i][k / 2][k % 2];
            pair both = {one, one};
            for (int j = 0; j < n / 2; j++) c[i][j] += both * b[k][j];
        }
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n / 2; j++) sum = mix(sum, bits(c[i][j][0]) ^ bits(c[i][j][1]));
    }
    return sum;
}
