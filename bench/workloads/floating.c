// Scalar floating point: doubles by SSE2, the C library's functions, long doubles by the x87.
#include "bench.h"

#include <math.h>
#include <string.h>

static double fraction(uint64_t* state) { return (double)(next_random(state) >> 40) / (1 << 24); }

// Bodies that attract each other: scalar double precision with divisions and square roots.
static uint64_t unit_nbody(void) {
    enum { bodies = 5, steps = 5000 };
    double position[bodies][3], velocity[bodies][3], mass[bodies];
    uint64_t state = 17;
    for (int i = 0; i < bodies; i++) {
        mass[i] = 1.0 + fraction(&state);
        for (int axis = 0; axis < 3; axis++) {
            position[i][axis] = 10.0 * (fraction(&state) - 0.5);
            velocity[i][axis] = fraction(&state) - 0.5;
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
            for (int axis = 0; axis < 3; axis++)
                position[i][axis] += 0.001 * velocity[i][axis];
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < bodies; i++)
        sum = mix(sum, bits_of(position[i][0]) ^ bits_of(velocity[i][2]));
    return sum;
}

static uint64_t unit_mandelbrot(void) {
    enum { width = 64, height = 48, limit = 200 };
    uint64_t sum = 0;
    for (int row = 0; row < height; row++) {
        for (int column = 0; column < width; column++) {
            double cr = -2.2 + 3.0 * column / width, ci = -1.2 + 2.4 * row / height, zr = 0, zi = 0;
            int steps = 0;
            while (steps < limit && zr * zr + zi * zi <= 4.0) {
                double next = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = next;
                steps++;
            }
            sum = mix(sum, (uint64_t)steps);
        }
    }
    return sum;
}

enum { matrix_n = 96 };
static double ma[matrix_n][matrix_n], mb[matrix_n][matrix_n], mc[matrix_n][matrix_n];

static void prepare_matrix(void) {
    uint64_t state = 23;
    for (int i = 0; i < matrix_n; i++) {
        for (int j = 0; j < matrix_n; j++)
            ma[i][j] = fraction(&state), mb[i][j] = fraction(&state) - 0.5;
    }
}

// One number at a time, the way that a textbook has it.
static uint64_t unit_matrix(void) {
    uint64_t sum = 0;
    for (int i = 0; i < matrix_n; i++) {
        for (int j = 0; j < matrix_n; j++) {
            double total = 0;
            for (int k = 0; k < matrix_n; k++)
                total += ma[i][k] * mb[k][j];
            mc[i][j] = total;
        }
    }
    for (int i = 0; i < matrix_n; i++)
        sum = mix(sum, bits_of(mc[i][i]) ^ bits_of(mc[matrix_n - 1 - i][i]));
    return sum;
}

enum { fft_bits = 12, fft_n = 1 << fft_bits };
static double re[fft_n], im[fft_n], root_re[fft_n / 2], root_im[fft_n / 2];

// Roots of unity by halving the angle, with the square root alone: the same bits on every machine.
static void prepare_fft(void) {
    double c = -1, s = 0;
    root_re[0] = 1, root_im[0] = 0;
    for (int size = 1; size < fft_n / 2; size *= 2) {
        // From angle a to a / 2: cos = sqrt((1 + c) / 2), sin = s / (2 cos); from pi to pi / 2 they are 0 and 1.
        double half = size == 1 ? 0 : sqrt((1 + c) / 2), sine = size == 1 ? 1 : s / (2 * half);
        c = half, s = sine;
        int stride = fft_n / 2 / (2 * size);
        for (int k = 0; k < size; k++) {
            int from = k * 2 * stride, to = from + stride;
            root_re[to] = root_re[from] * c - root_im[from] * s;
            root_im[to] = root_re[from] * s + root_im[from] * c;
        }
    }
}

static uint64_t unit_fft(void) {
    uint64_t state = 29, sum = 0;
    for (int i = 0; i < fft_n; i++)
        re[i] = fraction(&state), im[i] = 0;
    for (int i = 1, j = 0; i < fft_n; i++) {
        int bit = fft_n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            double kept = re[i];
            re[i] = re[j], re[j] = kept;
        }
    }
    for (int size = 1; size < fft_n; size *= 2) {
        int stride = fft_n / 2 / size;
        for (int start = 0; start < fft_n; start += 2 * size) {
            for (int k = 0; k < size; k++) {
                int low = start + k, high = low + size;
                double wr = root_re[k * stride], wi = -root_im[k * stride];
                double tr = re[high] * wr - im[high] * wi, ti = re[high] * wi + im[high] * wr;
                re[high] = re[low] - tr, im[high] = im[low] - ti;
                re[low] += tr, im[low] += ti;
            }
        }
    }
    for (int i = 0; i < fft_n; i += 5)
        sum = mix(sum, bits_of(re[i]) ^ bits_of(im[i]));
    return sum;
}

// The C library chooses code by the CPU's features, whose last bits differ: the sum is rounded before it counts.
static uint64_t unit_libm(void) {
    double total = 0;
    for (int i = 1; i <= 3000; i++) {
        double x = i * 0.0031;
        total += sin(x) + cos(3 * x) * exp(-x) + log(x + 1) + pow(x, 0.3) + atan2(x, 2) + tan(x / 20) + cbrt(x)
                 + tanh(x - 4);
    }
    return (uint64_t)llround(total * 1e6);
}

// The x87's own 80 bits: a series, Newton's square root, a polynomial, sums, comparisons, integer conversions.
static uint64_t unit_x87(void) {
    long double total = 0, x = 0.5L;
    for (int i = 1; i <= 20000; i++) {
        long double term = 1, series = 1;
        for (int k = 1; k < 8; k++) {
            term *= x / k;
            series += term;
        }
        long double guess = (series + 1) / 2;
        for (int k = 0; k < 3; k++)
            guess = (guess + series / guess) / 2;
        total += guess > 1.2L ? guess * i : sqrtl(series) - i;
        x = total - (long double)(int64_t)total;
        if (x < 0) x = -x;
    }
    uint64_t low = 0;
    memcpy(&low, &total, sizeof low);
    return mix(low, (uint64_t)(int64_t)total);
}

const struct workload fp_workloads[] = {
    {"nbody", 180, NULL, unit_nbody, NULL},
    {"mandelbrot", 200, NULL, unit_mandelbrot, NULL},
    {"matmul", 50, prepare_matrix, unit_matrix, NULL},
    {"fft", 600, prepare_fft, unit_fft, NULL},
    {"libm", 170, NULL, unit_libm, NULL},
    {"x87", 60, NULL, unit_x87, NULL},
    {NULL, 0, NULL, NULL, NULL},
};
