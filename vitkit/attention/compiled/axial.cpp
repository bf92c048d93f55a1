// Attention along one axis of a grid, on a CPU: vitkit.attention.axial with its loops fused.
//
// Tensors are (before, length, after, heads, dim), float32 and contiguous; attention goes along `length`. A line of one head is a
// problem; those of one `before` lie side by side in memory, so some of them are packed together, row by row, into buffers that
// the cache holds. Weights are kept transposed, (key, query): so a softmax goes down the rows, and nothing is summed across a
// vector. Rows of all buffers are padded with zeros to whole vectors. Every sum has a fixed order.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <omp.h>

namespace {

// Vectors of what the CPU has: longer ones would be taken apart, many times slower. ROWS of a product, two vectors wide, stay in
// registers; rows of buffers are padded to a multiple of either vector.
#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;
#elif defined(__AVX2__)
constexpr int LANES = 8, ROWS = 6;
#else
#error "slower than torch without AVX2, or not measured"
#endif
constexpr int PADDING = 16;
typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t Bits __attribute__((vector_size(4 * LANES)));
typedef float Loose __attribute__((vector_size(4 * LANES), aligned(4)));

constexpr int64_t ROOM = 1 << 15;  // numbers in a buffer

#define INLINE inline __attribute__((always_inline))

INLINE Vec& at(float* x) { return *reinterpret_cast<Vec*>(x); }
INLINE const Vec& at(const float* x) { return *reinterpret_cast<const Vec*>(x); }

int64_t padded(int64_t n) { return (n + PADDING - 1) / PADDING * PADDING; }

struct Shape {
    int64_t before, length, after, heads, dim;
    int64_t across() const { return after * heads; }  // problems side by side
    int64_t stride() const { return across() * dim; }
    int64_t width() const { return padded(dim); }
    int64_t pitch() const { return padded(length); }
    int64_t each() const { return length * width(); }
    int64_t together() const {
        int64_t some = ROOM / each() > 0 ? ROOM / each() : 1;
        return some < across() ? some : across();
    }
    int64_t blocks() const { return (across() + together() - 1) / together(); }
};

// Some problems of one `before`, which are neighbours in memory.
struct Block {
    int64_t line, first, some, offset;
    Block(const Shape& s, int64_t index) : line(index / s.blocks()), first(index % s.blocks() * s.together()) {
        some = first + s.together() < s.across() ? s.together() : s.across() - first;
        offset = line * s.length * s.stride() + first * s.dim;
    }
    int64_t head(const Shape& s, int64_t u) const { return (first + u) % s.heads; }
    int64_t place(const Shape& s, int64_t u) const { return line * s.length * s.after + (first + u) / s.heads; }
};

// Of numbers that are not positive, to two units in the last place. Source: Cephes, expf.
INLINE Vec exponential(Vec x) {
    const Vec lowest = Vec{} - 87.0f;
    x = x < lowest ? lowest : x;
    const float magic = 12582912.0f;  // 1.5 * 2^23: a sum with it is a whole number in the lowest bits
    Vec whole = x * 1.44269504088896341f + magic;
    const Bits power = reinterpret_cast<Bits>(whole) << 23;
    whole -= magic;
    x = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    Vec y = Vec{} + 1.9875691500e-4f;
    y = y * x + 1.3981999507e-3f;
    y = y * x + 8.3334519073e-3f;
    y = y * x + 4.1665795894e-2f;
    y = y * x + 1.6666665459e-1f;
    y = y * x + 5.0000001201e-1f;
    y = y * x * x + x + 1.0f;
    return reinterpret_cast<Vec>(reinterpret_cast<Bits>(y) + power);
}

template <int rows, int vectors>
INLINE void corner(int64_t depth, const float* left, int64_t row, int64_t step, const float* right, int64_t width, float* out) {
    Vec sum[rows][vectors] = {};
    for (int64_t k = 0; k < depth; k++) {
        Vec other[vectors];
        for (int j = 0; j < vectors; j++) other[j] = at(right + k * width + j * LANES);
        for (int i = 0; i < rows; i++) {
            const Vec own = Vec{} + left[i * row + k * step];
            for (int j = 0; j < vectors; j++) sum[i][j] += own * other[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) at(out + i * width + j * LANES) = sum[i][j];
}

template <int vectors>
INLINE void columns(int64_t height, int64_t depth, const float* left, int64_t row, int64_t step, const float* right, int64_t width,
                    float* out) {
    int64_t i = 0;
    for (; i + ROWS <= height; i += ROWS) corner<ROWS, vectors>(depth, left + i * row, row, step, right, width, out + i * width);
    for (; i < height; i++) corner<1, vectors>(depth, left + i * row, row, step, right, width, out + i * width);
}

// out (height, width) = left (height, depth) . right (depth, width); left has any strides.
void product(int64_t height, int64_t depth, const float* left, int64_t row, int64_t step, const float* right, int64_t width,
             float* out) {
    int64_t j = 0;
    for (; j + 2 * LANES <= width; j += 2 * LANES) columns<2>(height, depth, left, row, step, right + j, width, out + j);
    if (j < width) columns<1>(height, depth, left, row, step, right + j, width, out + j);
}

// from (length, width) to (dim, pitch)
INLINE void transpose(const Shape& s, const float* from, float* to) {
    for (int64_t d = 0; d < s.dim; d++)
        for (int64_t l = 0; l < s.length; l++) to[d * s.pitch() + l] = from[l * s.width() + d];
}

// Some neighbouring problems, from a tensor to a buffer (problem, length, width).
INLINE void pack(const Shape& s, int64_t some, const float* from, float scale, float* to) {
    for (int64_t l = 0; l < s.length; l++)
        for (int64_t u = 0; u < some; u++) {
            const float* source = from + l * s.stride() + u * s.dim;
            float* target = to + u * s.each() + l * s.width();
            int64_t d = 0;
            for (; d + LANES <= s.dim; d += LANES) at(target + d) = *reinterpret_cast<const Loose*>(source + d) * scale;
            for (; d < s.dim; d++) target[d] = source[d] * scale;
        }
}

// The reverse, which adds to what is there, or replaces it.
INLINE void unpack(const Shape& s, const Block& block, const float* from, const float* gate, float scale, bool add, float* to) {
    for (int64_t l = 0; l < s.length; l++)
        for (int64_t u = 0; u < block.some; u++) {
            const float by = gate ? scale * gate[block.head(s, u)] : scale;
            const float* source = from + u * s.each() + l * s.width();
            float* target = to + block.offset + l * s.stride() + u * s.dim;
            int64_t d = 0;
            for (; d + LANES <= s.dim; d += LANES) {
                Loose& into = *reinterpret_cast<Loose*>(target + d);
                const Loose found = at(source + d) * by;
                into = add ? into + found : found;
            }
            for (; d < s.dim; d++) target[d] = source[d] * by + (add ? target[d] : 0.0f);
        }
}

// (key, query): softmax over keys; zeros where none is seen. `seen` of the first key, the next is `after` further.
INLINE void probabilities(const Shape& s, const float* keys, const float* queries, const float* bias, const uint8_t* seen,
                          float* weights) {
    const int64_t pitch = s.pitch();
    product(s.length, s.dim, keys, s.width(), 1, queries, pitch, weights);
    for (int64_t i = 0; i < pitch; i += LANES) {
        Vec most = Vec{} - INFINITY, total = {};
        for (int64_t j = 0; j < s.length; j++) {
            if (seen && !seen[j * s.after]) continue;
            Vec& here = at(weights + j * pitch + i);
            if (bias) here += *reinterpret_cast<const Loose*>(bias + j * pitch + i);
            most = most < here ? here : most;
        }
        for (int64_t j = 0; j < s.length; j++) {
            Vec& here = at(weights + j * pitch + i);
            here = seen && !seen[j * s.after] ? Vec{} : exponential(here - most);
            total += here;
        }
        total = total == 0.0f ? total : 1.0f / total;
        for (int64_t j = 0; j < s.length; j++) at(weights + j * pitch + i) *= total;
    }
}

float* buffer(int64_t numbers) {
    void* found = std::aligned_alloc(4 * PADDING, sizeof(float) * padded(numbers));
    if (found) std::memset(found, 0, sizeof(float) * padded(numbers));
    return static_cast<float*>(found);
}

}  // namespace

extern "C" {

// bias: (heads, key, padded query) or null; gate: (heads) or null; seen: (before, length, after) or null. Returns 0, or 1 without memory.
int vitkit_axial_forward(const float* q, const float* k, const float* v, const float* bias, const float* gate, const uint8_t* seen,
                         float* out, int64_t before, int64_t length, int64_t after, int64_t heads, int64_t dim, float scale,
                         int add, int threads) {
    const Shape s{before, length, after, heads, dim};
    const int64_t together = s.together(), tokens = together * s.each(), turned = s.width() * s.pitch(), scores = length * s.pitch();
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float* own = buffer(3 * tokens + turned + scores);
        failed = !own;
        float *other = own + tokens, *mean = other + tokens, *queries = mean + tokens, *weights = queries + turned;
#pragma omp for schedule(static)
        for (int64_t work = 0; work < before * s.blocks(); work++) {
            if (!own) continue;
            const Block block(s, work);
            pack(s, block.some, q + block.offset, scale, own);
            pack(s, block.some, k + block.offset, 1, other);
            pack(s, block.some, v + block.offset, 1, mean);
            for (int64_t u = 0; u < block.some; u++) {
                const int64_t head = block.head(s, u), here = u * s.each();
                const uint8_t* keys = seen ? seen + block.place(s, u) : nullptr;
                transpose(s, own + here, queries);
                probabilities(s, other + here, queries, bias ? bias + head * scores : nullptr, keys, weights);
                product(length, length, weights, 1, s.pitch(), mean + here, s.width(), own + here);
            }
            unpack(s, block, own, gate, 1, add, out);
        }
        std::free(own);
    }
    return failed;
}

// The gradients of q, k and v are added to or replaced; those of bias, with its padding, and gate are added to, if not null.
int vitkit_axial_backward(const float* q, const float* k, const float* v, const float* grad, const float* bias, const float* gate,
                          const uint8_t* seen, float* grad_q, float* grad_k, float* grad_v, float* grad_bias, float* grad_gate,
                          int64_t before, int64_t length, int64_t after, int64_t heads, int64_t dim, float scale, int add,
                          int threads) {
    const Shape s{before, length, after, heads, dim};
    const int64_t together = s.together(), tokens = together * s.each(), turned = s.width() * s.pitch(), scores = length * s.pitch();
    const int64_t biases = grad_bias ? heads * scores : 0;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float* own = buffer(4 * tokens + 2 * turned + 2 * scores + biases + heads);
        failed = !own;
        float *other = own + tokens, *mean = other + tokens, *slope = mean + tokens, *queries = slope + tokens;
        float *turn = queries + turned, *weights = turn + turned, *slopes = weights + scores, *of_bias = slopes + scores;
        float* of_gate = of_bias + biases;
#pragma omp for schedule(static)
        for (int64_t work = 0; work < before * s.blocks(); work++) {
            if (!own) continue;
            const Block block(s, work);
            pack(s, block.some, q + block.offset, scale, own);
            pack(s, block.some, k + block.offset, 1, other);
            pack(s, block.some, v + block.offset, 1, mean);
            pack(s, block.some, grad + block.offset, 1, slope);
            for (int64_t u = 0; u < block.some; u++) {
                const int64_t head = block.head(s, u), here = u * s.each();
                const uint8_t* keys = seen ? seen + block.place(s, u) : nullptr;
                transpose(s, own + here, queries);
                transpose(s, slope + here, turn);
                probabilities(s, other + here, queries, bias ? bias + head * scores : nullptr, keys, weights);
                product(length, dim, mean + here, s.width(), 1, turn, s.pitch(), slopes);
                product(length, length, weights, s.pitch(), 1, slope + here, s.width(), mean + here);
                for (int64_t i = 0; i < s.pitch(); i += LANES) {
                    Vec dots = {};
                    for (int64_t j = i; j < scores; j += s.pitch()) dots += at(slopes + j) * at(weights + j);
                    for (int64_t j = i; j < scores; j += s.pitch()) at(slopes + j) = (at(slopes + j) - dots) * at(weights + j);
                    for (int64_t lane = 0; lane < LANES && i + lane < length; lane++) of_gate[head] += dots[lane];
                }
                if (grad_bias) {
                    const float by = gate ? gate[head] : 1.0f;
                    for (int64_t j = 0; j < scores; j += LANES) at(of_bias + head * scores + j) += at(slopes + j) * by;
                }
                product(length, length, slopes, 1, s.pitch(), other + here, s.width(), slope + here);
                product(length, length, slopes, s.pitch(), 1, own + here, s.width(), other + here);
            }
            unpack(s, block, slope, gate, scale, add, grad_q);
            unpack(s, block, other, gate, 1, add, grad_k);
            unpack(s, block, mean, gate, 1, add, grad_v);
        }
#pragma omp for ordered schedule(static, 1)
        for (int thread = 0; thread < omp_get_num_threads(); thread++) {
#pragma omp ordered
            if (own) {
                for (int64_t j = 0; j < biases; j++) grad_bias[j] += of_bias[j];
                for (int64_t head = 0; grad_gate && head < heads; head++) grad_gate[head] += of_gate[head];
            }
        }
        std::free(own);
    }
    return failed;
}

}  // extern "C"
