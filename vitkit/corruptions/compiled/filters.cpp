// What vitkit.corruptions.image does with whole planes in many passes, a plane at a time that a core's cache holds. Floating point
// is rounded after every operation, in torch's order: so the compiler may not contract products and sums, and all results are
// torch's, bit for bit.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

typedef float* __restrict Row;
typedef const float* __restrict Source;

void scale(Row out, Source x, float by, int64_t count) {
    for (int64_t i = 0; i < count; i++) out[i] = x[i] * by;
}

void add_both(Row out, Source one, Source other, float by, int64_t count) {
    for (int64_t i = 0; i < count; i++) out[i] += (one[i] + other[i]) * by;
}

// Calls work(plane) for every plane, on several threads.
template <typename Work>
void each_plane(int64_t planes, int64_t threads, Work work) {
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (planes > 1)
    for (int64_t plane = 0; plane < planes; plane++) work(plane);
}

}  // namespace

extern "C" {

// Both axes of planes (height, width) correlated with symmetric weights, of which there is the middle one and those after it.
// rows, columns: which one stands at each place from -reach to the length + reach.
void vitkit_blur(const float* x, float* out, const float* down, const int64_t* rows, const float* across, const int64_t* columns,
                 int64_t planes, int64_t height, int64_t width, int64_t reach_down, int64_t reach_across, int64_t threads) {
    each_plane(planes, threads, [=](int64_t plane) {
        const float* source = x + plane * height * width;
        std::vector<float> blurred(width), wide(width + 2 * reach_across);
        for (int64_t y = 0; y < height; y++) {
            const int64_t* near = rows + y + reach_down;
            scale(blurred.data(), source + near[0] * width, down[0], width);
            for (int64_t k = 1; k <= reach_down; k++)
                add_both(blurred.data(), source + near[-k] * width, source + near[k] * width, down[k], width);
            for (size_t i = 0; i < wide.size(); i++) wide[i] = blurred[columns[i]];
            float* target = out + (plane * height + y) * width;
            const float* middle = wide.data() + reach_across;
            scale(target, middle, across[0], width);
            for (int64_t k = 1; k <= reach_across; k++) add_both(target, middle - k, middle + k, across[k], width);
        }
    });
}

// Sums of boxes along rows: the i-th reaches reaches[i] to both sides, in the rows above and below by heights[i], times weights[i].
void vitkit_boxes(const float* x, float* out, const int64_t* reaches, const int64_t* heights, const float* weights,
                  const int64_t* rows, const int64_t* columns, int64_t planes, int64_t height, int64_t width, int64_t half,
                  int64_t boxes, int64_t threads) {
    each_plane(planes, threads, [=](int64_t plane) {
        const int64_t pitch = width + 2 * half + 1;
        std::vector<float> sums(height * pitch);
        for (int64_t y = 0; y < height; y++) {
            const float* source = x + (plane * height + y) * width;
            double sum = 0;  // as torch's cumsum has it
            for (int64_t i = 1; i < pitch; i++) sums[y * pitch + i] = static_cast<float>(sum += source[columns[i - 1]]);
        }
        for (int64_t y = 0; y < height; y++) {
            float* target = out + (plane * height + y) * width;
            std::memset(target, 0, sizeof(float) * width);
            for (int64_t box = 0; box < boxes; box++) {
                const int64_t from = half - reaches[box], to = half + reaches[box] + 1;
                Source above = sums.data() + rows[y + half - heights[box]] * pitch;
                Source below = sums.data() + rows[y + half + heights[box]] * pitch;
                if (heights[box])
                    for (int64_t i = 0; i < width; i++)
                        target[i] += ((above[to + i] - above[from + i]) + (below[to + i] - below[from + i])) * weights[box];
                else
                    for (int64_t i = 0; i < width; i++) target[i] += (above[to + i] - above[from + i]) * weights[box];
            }
        }
    });
}

// Each pixel a weighted sum along the line of its direction: of `taps` offsets in the plane that is wider by a margin on each side.
void vitkit_smear(const float* wide, const int64_t* towards, float* out, const int64_t* offsets, const float* weights,
                  int64_t planes, int64_t height, int64_t width, int64_t margin, int64_t taps, int64_t threads) {
    const int64_t pitch = width + 2 * margin;
    each_plane(planes, threads, [=](int64_t plane) {
        for (int64_t y = 0; y < height; y++) {
            const float* here = wide + (plane * (height + 2 * margin) + y + margin) * pitch + margin;
            const int64_t place = (plane * height + y) * width;
            for (int64_t i = 0; i < width; i++) {
                const int64_t* line = offsets + towards[place + i] * taps;
                float sum = 0;
                for (int64_t k = 0; k < taps; k++) sum += here[i + line[k]] * weights[k];
                out[place + i] = sum;
            }
        }
    });
}

// 1 on edges. thresholds: the least size of a gradient, the least of one somewhere on an edge, and the tangent of 22.5 degrees.
// Source: vitkit.corruptions.image.spatter.rims.
void vitkit_rims(const float* x, uint8_t* edges, const float* thresholds, int64_t planes, int64_t height, int64_t width,
                 int64_t threads) {
    const float low = thresholds[0], high = thresholds[1], tangent = thresholds[2];
    each_plane(planes, threads, [=](int64_t plane) {
        const int64_t pitch = width + 2, count = height * width;
        const float* levels = x + plane * count;
        uint8_t* found = edges + plane * count;
        std::vector<float> across(count), down(count), sizes((height + 2) * pitch);
        const float* upper[3];
        for (int64_t y = 0; y < height; y++) {
            for (int64_t i = 0; i < 3; i++) upper[i] = levels + std::clamp<int64_t>(y + i - 1, 0, height - 1) * width;
            for (int64_t i = 0; i < width; i++) {
                const int64_t before = i > 0 ? i - 1 : 0, after = i + 1 < width ? i + 1 : i, here = y * width + i;
                const auto column = [&](int64_t j) { return upper[0][j] + 2 * upper[1][j] + upper[2][j]; };
                const auto row = [&](const float* r) { return r[before] + 2 * r[i] + r[after]; };
                across[here] = column(after) - column(before);
                down[here] = row(upper[2]) - row(upper[0]);
                sizes[(y + 1) * pitch + i + 1] = std::fabs(down[here]) + std::fabs(across[here]);
            }
        }
        std::vector<int64_t> todo;
        for (int64_t y = 0; y < height; y++)
            for (int64_t i = 0; i < width; i++) {
                const int64_t here = y * width + i;
                const float *around = sizes.data() + (y + 1) * pitch + i + 1, size = *around;
                const float steep = std::fabs(down[here]), flat = std::fabs(across[here]);
                bool peak;
                if (steep < tangent * flat)
                    peak = size > around[-1] && size >= around[1];
                else if (flat < tangent * steep)
                    peak = size > around[-pitch] && size >= around[pitch];
                else if (across[here] * down[here] < 0)
                    peak = size > around[1 - pitch] && size > around[pitch - 1];
                else
                    peak = size > around[-pitch - 1] && size > around[pitch + 1];
                found[here] = peak && size > low ? 2 : 0;  // 2: an edge if it is joined to one
                if (found[here] && size > high) todo.push_back(here);
            }
        for (int64_t place : todo) found[place] = 1;
        while (!todo.empty()) {
            const int64_t y = todo.back() / width, i = todo.back() % width;
            todo.pop_back();
            for (int64_t row = std::max<int64_t>(y - 1, 0); row <= std::min(y + 1, height - 1); row++)
                for (int64_t column = std::max<int64_t>(i - 1, 0); column <= std::min(i + 1, width - 1); column++)
                    if (found[row * width + column] == 2) {
                        found[row * width + column] = 1;
                        todo.push_back(row * width + column);
                    }
        }
        for (int64_t here = 0; here < count; here++) found[here] &= 1;
    });
}

// Squares of the distance to the next edge, but of `reach` at most.
void vitkit_distances(const uint8_t* edges, float* out, int64_t planes, int64_t height, int64_t width, int64_t reach,
                      int64_t threads) {
    each_plane(planes, threads, [=](int64_t plane) {
        std::vector<int32_t> along(height * width), nearest(width);
        for (int64_t y = 0; y < height; y++) {
            const uint8_t* edge = edges + (plane * height + y) * width;
            int32_t *row = along.data() + y * width, most = static_cast<int32_t>(reach), away = most;
            for (int64_t i = 0; i < width; i++) row[i] = away = edge[i] ? 0 : std::min(away + 1, most);
            away = most;
            for (int64_t i = width - 1; i >= 0; i--) row[i] = std::min(row[i], away = edge[i] ? 0 : std::min(away + 1, most));
            for (int64_t i = 0; i < width; i++) row[i] *= row[i];
        }
        for (int64_t y = 0; y < height; y++) {
            std::copy_n(along.data() + y * width, width, nearest.data());
            for (int64_t other = std::max<int64_t>(y - reach + 1, 0); other < std::min(y + reach, height); other++) {
                const int32_t *row = along.data() + other * width, further = static_cast<int32_t>((other - y) * (other - y));
                for (int64_t i = 0; i < width; i++) nearest[i] = std::min(nearest[i], row[i] + further);
            }
            for (int64_t i = 0; i < width; i++) out[(plane * height + y) * width + i] = static_cast<float>(nearest[i]);
        }
    });
}

// Over 3 x 3 pixels; rows, columns: which one stands at each place from -1 to the length + 1.
void vitkit_mean(const float* x, float* out, const int64_t* rows, const int64_t* columns, int64_t planes, int64_t height,
                 int64_t width, int64_t threads) {
    each_plane(planes, threads, [=](int64_t plane) {
        std::vector<float> sums(width);
        for (int64_t y = 0; y < height; y++) {
            const float* source = x + plane * height * width;
            const float *above = source + rows[y] * width, *here = source + rows[y + 1] * width, *below = source + rows[y + 2] * width;
            for (int64_t i = 0; i < width; i++) sums[i] = above[i] + here[i] + below[i];
            for (int64_t i = 0; i < width; i++)
                out[(plane * height + y) * width + i] =
                    (sums[columns[i]] + sums[columns[i + 1]] + sums[columns[i + 2]]) * static_cast<float>(1.0 / 9);
        }
    });
}

}  // extern "C"
