// Attention along the axes of a grid, on a CPU: vitkit.attention.axial with its loops fused.
//
// Tensors are (batch, *grid, heads, dim), float32 and contiguous. The tokens of some heads are packed into buffers that the cache
// holds, along as many axes as fit, and every line in them is a problem. Weights are kept transposed, (key, query): so a softmax
// goes down the rows, and nothing is summed across a vector. Rows of all buffers are padded to whole vectors, and what is in the padding reaches no result. Every sum
// has a fixed order, which does not depend on the batch or the number of threads, but for the gradients of bias and gates.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <immintrin.h>
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

constexpr int64_t ROOM = 1 << 15;    // numbers in a buffer
constexpr int64_t LARGE = 1 << 20;   // numbers of a tensor that no core's cache holds

#define INLINE inline __attribute__((always_inline))

INLINE Vec& at(float* x) { return *reinterpret_cast<Vec*>(x); }
INLINE const Vec& at(const float* x) { return *reinterpret_cast<const Vec*>(x); }
INLINE Loose& loose(float* x) { return *reinterpret_cast<Loose*>(x); }
INLINE const Loose& loose(const float* x) { return *reinterpret_cast<const Loose*>(x); }

// Lane i is lane from[i] of the two together.
INLINE Vec shuffle(const Vec& x, const Vec& y, const Bits& from) {
#if defined(__clang__)
    Vec found;
    for (int i = 0; i < LANES; i++) found[i] = from[i] < LANES ? x[from[i]] : y[from[i] - LANES];
    return found;
#else
    return __builtin_shuffle(x, y, from);
#endif
}

// To memory, past the caches: a line that is replaced need not be read first.
INLINE void stream(float* to, const Vec& x) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, reinterpret_cast<__m512>(x));
#else
    _mm256_stream_ps(to, reinterpret_cast<__m256>(x));
#endif
}

int64_t padded(int64_t n) { return (n + PADDING - 1) / PADDING * PADDING; }

// What all axes share.
struct Grid {
    int64_t batch, axes;
    const int64_t *sizes, *lengths;  // tokens along each axis, and those of them that see each other: windows of a line
    int64_t heads, dim;
    float scale;
    const float* const* biases;  // of each axis (heads, key, padded query), or null
    const float* gates;          // (axes, heads), or null
    const uint8_t* seen;         // (batch, *grid), or null
    float gate(int64_t axis, int64_t head) const { return gates ? gates[axis * heads + head] : 1.0f; }
    int64_t longest() const {
        int64_t most = 0;
        for (int64_t axis = 0; axis < axes; axis++) most = lengths[axis] > most ? lengths[axis] : most;
        return most;
    }
    int64_t scores(int64_t axis) const { return lengths[axis] * padded(lengths[axis]); }
};

// As many of the axes before `last` as the cache holds a head's tokens of, but one at least: they are read once for all of them.
// Heads of neighbouring tokens lie side by side in memory, `across` of them, and some are packed together.
struct Tile {
    int64_t first, last, before, tokens, row, after, heads, dim;
    Tile(const Grid& g, int64_t last)
        : first(last - 1), last(last), before(g.batch), tokens(g.sizes[first]), row(tokens), after(1), heads(g.heads), dim(g.dim) {
        while (first > 0 && place(g.sizes[first - 1] * tokens) <= 9 * ROOM / 8) tokens *= g.sizes[--first];
        for (int64_t axis = 0; axis < first; axis++) before *= g.sizes[axis];
        for (int64_t axis = last; axis < g.axes; axis++) after *= g.sizes[axis];
    }
    int64_t across() const { return after * heads; }
    int64_t stride() const { return across() * dim; }
    int64_t width() const { return padded(dim); }
    // Where a token lies in a buffer. Rows along the last axis are set apart, or lines across them would share a few places of the cache.
    int64_t place(int64_t token) const { return token * width() + token / row * PADDING; }
    int64_t each() const { return place(tokens); }
    int64_t together() const {
        int64_t some = ROOM / each() > 0 ? ROOM / each() : 1;
        return some < across() ? some : across();
    }
    int64_t blocks() const { return (across() + together() - 1) / together(); }
    int64_t works() const { return before * blocks(); }
    bool alone() const { return last - first == 1; }
    // Whether a tensor is better written past the caches, and whole vectors of it can be.
    bool streams(const float* x) const {
        return before * tokens * stride() >= LARGE && dim % LANES == 0 && reinterpret_cast<uintptr_t>(x) % (4 * LANES) == 0;
    }
};

// Some heads of one `before`, which are neighbours in memory.
struct Block {
    int64_t before, first, some, offset;
    Block(const Tile& t, int64_t index) : before(index / t.blocks()), first(index % t.blocks() * t.together()) {
        some = first + t.together() < t.across() ? t.together() : t.across() - first;
        offset = before * t.tokens * t.stride() + first * t.dim;
    }
};

// A line along an axis, in a buffer of one head.
struct Line {
    int64_t length, pitch, width, start, step, head;
    const float* bias;
    const uint8_t* seen;
    int64_t further;  // from one key's `seen` to the next
};

// Calls `visit(line)` for all lines of the block's head `u` along an axis.
template <class Visit>
INLINE void lines(const Grid& g, const Tile& t, const Block& block, int64_t u, int64_t axis, Visit visit) {
    int64_t apart = 1;  // tokens between neighbours
    for (int64_t later = axis + 1; later < t.last; later++) apart *= g.sizes[later];
    const int64_t head = (block.first + u) % t.heads, length = g.lengths[axis];
    const int64_t place = block.before * t.tokens * t.after + (block.first + u) / t.heads;
    const float* bias = g.biases[axis] ? g.biases[axis] + head * g.scores(axis) : nullptr;
    for (int64_t i = 0; i < t.tokens; i += length * apart)
        for (int64_t token = i; token < i + apart; token++) {
            const uint8_t* seen = g.seen ? g.seen + place + token * t.after : nullptr;
            const int64_t start = t.place(token);
            visit(Line{length, padded(length), t.width(), start, t.place(token + apart) - start, head, bias, seen, apart * t.after});
        }
}

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

// The left matrix of a product, with any strides.
struct Left {
    const float* numbers;
    int64_t row, step;
};

// The others: their rows are contiguous, and `below` each other.
template <class Number>
struct Rows {
    Number* numbers;
    int64_t below;
    Number* operator()(int64_t i, int64_t j) const { return numbers + i * below + j; }
};

template <int rows, int vectors>
INLINE void corner(int64_t i, int64_t j, int64_t depth, Left left, Rows<const float> right, float by, bool add, Rows<float> out) {
    Vec sum[rows][vectors] = {};
    for (int64_t k = 0; k < depth; k++) {
        Vec other[vectors];
        for (int v = 0; v < vectors; v++) other[v] = at(right(k, j + v * LANES));
        for (int r = 0; r < rows; r++) {
            // A number less zeros costs nothing. Zeros and a number would be added, as -0 becomes 0, at half the speed.
            const Vec own = left.numbers[(i + r) * left.row + k * left.step] - Vec{};
            for (int v = 0; v < vectors; v++) sum[r][v] += own * other[v];
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            Vec& into = at(out(i + r, j + v * LANES));
            into = add ? into + sum[r][v] * by : sum[r][v] * by;
        }
}

template <int vectors>
INLINE void columns(int64_t height, int64_t j, int64_t depth, Left left, Rows<const float> right, float by, bool add,
                    Rows<float> out) {
    int64_t i = 0;
    for (; i + ROWS <= height; i += ROWS) corner<ROWS, vectors>(i, j, depth, left, right, by, add, out);
    for (; i < height; i++) corner<1, vectors>(i, j, depth, left, right, by, add, out);
}

// out (height, width) = by * left (height, depth) . right (depth, width), or is increased by that.
void product(int64_t height, int64_t depth, int64_t width, Left left, Rows<const float> right, float by, bool add, Rows<float> out) {
    int64_t j = 0;
    for (; j + 2 * LANES <= width; j += 2 * LANES) columns<2>(height, j, depth, left, right, by, add, out);
    if (j < width) columns<1>(height, j, depth, left, right, by, add, out);
}

// Two rows of a matrix exchange their blocks of `s` lanes, as in a transposition by halves.
template <int s>
INLINE void exchange(Vec& upper, Vec& lower) {
    Bits first, second;
    for (int i = 0; i < LANES; i++) {
        first[i] = i & s ? LANES + i - s : i;
        second[i] = i & s ? LANES + i : i + s;
    }
    const Vec above = shuffle(upper, lower, first);
    lower = shuffle(upper, lower, second);
    upper = above;
}

template <int s>
INLINE void exchange_all(Vec* rows) {
    for (int j = 0; j < LANES; j++)
        if (!(j & s)) exchange<s>(rows[j], rows[j + s]);
}

// A line of tokens, from (length, dim) to (dim, pitch).
INLINE void transpose(const Line& l, const float* from, float* to) {
    for (int64_t i = 0; i < l.pitch; i += LANES)
        for (int64_t d = 0; d < l.width; d += LANES) {
            Vec rows[LANES];
            for (int j = 0; j < LANES; j++) rows[j] = i + j < l.length ? at(from + l.start + (i + j) * l.step + d) : Vec{};
            exchange_all<1>(rows);
            exchange_all<2>(rows);
            exchange_all<4>(rows);
            if (LANES > 8) exchange_all<LANES / 2>(rows);
            for (int j = 0; j < LANES; j++) at(to + (d + j) * l.pitch + i) = rows[j];
        }
}

// Calls `vector(outside, inside)` for each whole vector of each token of a block's heads, where it lies in a tensor and in a buffer,
// and `number` for what is left of a token. VECTORS: how many are whole, or 0 where the compiler does not know.
template <int VECTORS, class Vector, class Number>
INLINE void each_of(const Tile& t, const Block& block, Vector vector, Number number) {
    const int64_t end = VECTORS ? VECTORS * LANES : t.dim / LANES * LANES;
    int64_t outside = block.offset, inside = 0;
    for (int64_t start = 0; start < t.tokens; start += t.row, inside += PADDING)
        for (int64_t i = 0; i < t.row; i++, outside += t.stride(), inside += t.width())
            for (int64_t u = 0; u < block.some; u++) {
                const int64_t here = outside + u * t.dim, there = inside + u * t.each();
                for (int64_t d = 0; d < end; d += LANES) vector(here + d, there + d);
                for (int64_t d = end; !VECTORS && d < t.dim; d++) number(here + d, there + d);
            }
}

template <class Vector, class Number>
INLINE void each(const Tile& t, const Block& block, Vector vector, Number number) {
    if (t.dim == LANES) return each_of<1>(t, block, vector, number);
    if (t.dim == 2 * LANES) return each_of<2>(t, block, vector, number);
    if (t.dim == 4 * LANES) return each_of<4>(t, block, vector, number);
    each_of<0>(t, block, vector, number);
}

// From a tensor to a buffer.
INLINE void pack(const Tile& t, const Block& block, const float* from, float* to) {
    each(
        t, block, [&](int64_t o, int64_t i) { at(to + i) = loose(from + o); }, [&](int64_t o, int64_t i) { to[i] = from[o]; });
}

// The reverse, which adds to what is there, or replaces it.
INLINE void unpack(const Tile& t, const Block& block, const float* from, bool add, float* to) {
    const auto put = [&](int64_t o, int64_t i) { to[o] = from[i]; };
    if (add) {
        const auto put_more = [&](int64_t o, int64_t i) { to[o] += from[i]; };
        each(t, block, [&](int64_t o, int64_t i) { loose(to + o) += at(from + i); }, put_more);
    } else if (t.streams(to)) {
        each(t, block, [&](int64_t o, int64_t i) { stream(to + o, at(from + i)); }, put);
        _mm_sfence();
    } else {
        each(t, block, [&](int64_t o, int64_t i) { loose(to + o) = at(from + i); }, put);
    }
}

// (key, query): softmax over keys; zeros where none is seen.
INLINE void probabilities(const Line& l, const float* keys, const float* queries, int64_t dim, float scale, float* weights) {
    product(l.length, dim, l.pitch, {keys + l.start, l.step, 1}, {queries, l.pitch}, scale, false, {weights, l.pitch});
    for (int64_t i = 0; i < l.pitch; i += LANES) {
        Vec most = Vec{} - INFINITY, total = {};
        for (int64_t j = 0; j < l.length; j++) {
            if (l.seen && !l.seen[j * l.further]) continue;
            Vec& here = at(weights + j * l.pitch + i);
            if (l.bias) here += loose(l.bias + j * l.pitch + i);
            most = most < here ? here : most;
        }
        for (int64_t j = 0; j < l.length; j++) {
            Vec& here = at(weights + j * l.pitch + i);
            here = l.seen && !l.seen[j * l.further] ? Vec{} : exponential(here - most);
            total += here;
        }
        total = total == 0.0f ? total : 1.0f / total;
        for (int64_t j = 0; j < l.length; j++) at(weights + j * l.pitch + i) *= total;
    }
}

float* buffer(int64_t numbers) {
    void* found = std::aligned_alloc(4 * PADDING, sizeof(float) * padded(numbers));
    if (found) std::memset(found, 0, sizeof(float) * padded(numbers));
    return static_cast<float*>(found);
}

}  // namespace

extern "C" {

// Returns 0, or 1 without memory.
int vitkit_axial_forward(const float* q, const float* k, const float* v, const float* const* biases, const float* gates,
                         const uint8_t* seen, float* out, int64_t batch, int64_t axes, const int64_t* sizes, const int64_t* lengths,
                         int64_t heads, int64_t dim, float scale, int threads) {
    const Grid g{batch, axes, sizes, lengths, heads, dim, scale, biases, gates, seen};
    const int64_t longest = padded(g.longest()), line = longest * padded(dim);
    int failed = 0;
    for (int64_t last = axes, first; last > 0; last = first) {
        const Tile t(g, last);
        first = t.first;
        const int64_t tokens = t.together() * t.each();
#pragma omp parallel num_threads(threads) reduction(| : failed)
        {
            float* own = buffer((t.alone() ? 3 : 4) * tokens + line + longest * longest);
            failed = !own;
            float *other = own + tokens, *mean = other + tokens, *queries = mean + tokens, *weights = queries + line;
            float* sum = t.alone() ? own : weights + longest * longest;
#pragma omp for schedule(static)
            for (int64_t work = 0; work < t.works(); work++) {
                if (!own) continue;
                const Block block(t, work);
                pack(t, block, q, own);
                pack(t, block, k, other);
                pack(t, block, v, mean);
                for (int64_t u = 0; u < block.some; u++)
                    for (int64_t axis = first; axis < last; axis++)
                        lines(g, t, block, u, axis, [&](const Line& l) {
                            const int64_t here = u * t.each(), there = here + l.start;
                            transpose(l, own + here, queries);
                            probabilities(l, other + here, queries, dim, scale, weights);
                            product(l.length, l.length, l.width, {weights, 1, l.pitch}, {mean + there, l.step},
                                    g.gate(axis, l.head), axis > first, {sum + there, l.step});
                        });
                unpack(t, block, sum, last < axes, out);
            }
            std::free(own);
        }
    }
    return failed;
}

// The gradients of q, k and v are replaced; those of biases, with their padding, and of gates are added to, where not null.
int vitkit_axial_backward(const float* q, const float* k, const float* v, const float* grad, const float* const* biases,
                          const float* gates, const uint8_t* seen, float* grad_q, float* grad_k, float* grad_v,
                          float* const* grad_biases, float* grad_gates, int64_t batch, int64_t axes, const int64_t* sizes,
                          const int64_t* lengths, int64_t heads, int64_t dim, float scale, int threads) {
    const Grid g{batch, axes, sizes, lengths, heads, dim, scale, biases, gates, seen};
    const int64_t longest = padded(g.longest()), line = longest * padded(dim);
    int failed = 0;
    for (int64_t last = axes, first; last > 0; last = first) {
        const Tile t(g, last);
        first = t.first;
        const int64_t tokens = t.together() * t.each();
        int64_t learned = 0;
        for (int64_t axis = first; axis < last; axis++) learned += grad_biases[axis] ? heads * g.scores(axis) : 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
        {
            float* own = buffer((t.alone() ? 5 : 7) * tokens + 2 * line + 2 * longest * longest + learned + padded(g.axes * heads));
            failed = !own;
            float *other = own + tokens, *mean = other + tokens, *slope = mean + tokens, *queries = slope + tokens;
            float *turn = queries + line, *weights = turn + line, *slopes = weights + longest * longest;
            float *of_biases = slopes + longest * longest, *of_gates = of_biases + learned;
            float* sum_q = of_gates + padded(g.axes * heads);
            float *sum_k = t.alone() ? other : sum_q + tokens, *sum_v = t.alone() ? mean : sum_k + tokens;
#pragma omp for schedule(static)
            for (int64_t work = 0; work < t.works(); work++) {
                if (!own) continue;
                const Block block(t, work);
                pack(t, block, q, own);
                pack(t, block, k, other);
                pack(t, block, v, mean);
                pack(t, block, grad, slope);
                for (int64_t u = 0; u < block.some; u++) {
                    float* of_bias = of_biases;
                    for (int64_t axis = first; axis < last; axis++) {
                        lines(g, t, block, u, axis, [&](const Line& l) {
                            const int64_t here = u * t.each(), there = here + l.start, scores = l.length * l.pitch;
                            const float by = g.gate(axis, l.head);
                            const bool more = axis > first;
                            transpose(l, own + here, queries);
                            transpose(l, slope + here, turn);
                            probabilities(l, other + here, queries, dim, scale, weights);
                            product(l.length, dim, l.pitch, {mean + there, l.step, 1}, {turn, l.pitch}, 1, false, {slopes, l.pitch});
                            product(l.length, l.length, l.width, {weights, l.pitch, 1}, {slope + there, l.step}, by, more,
                                    {sum_v + there, l.step});
                            for (int64_t i = 0; i < l.pitch; i += LANES) {
                                Vec dots = {};
                                for (int64_t j = i; j < scores; j += l.pitch) dots += at(slopes + j) * at(weights + j);
                                for (int64_t j = i; j < scores; j += l.pitch) at(slopes + j) = (at(slopes + j) - dots) * at(weights + j);
                                float& of_gate = of_gates[axis * heads + l.head];
                                for (int64_t lane = 0; lane < LANES && i + lane < l.length; lane++) of_gate += dots[lane];
                            }
                            if (grad_biases[axis])
                                for (int64_t j = 0; j < scores; j += LANES) at(of_bias + l.head * scores + j) += at(slopes + j) * by;
                            product(l.length, l.length, l.width, {slopes, 1, l.pitch}, {other + there, l.step}, by * scale, more,
                                    {sum_q + there, l.step});
                            product(l.length, l.length, l.width, {slopes, l.pitch, 1}, {own + there, l.step}, by * scale, more,
                                    {sum_k + there, l.step});
                        });
                        of_bias += grad_biases[axis] ? heads * g.scores(axis) : 0;
                    }
                }
                unpack(t, block, sum_q, last < axes, grad_q);
                unpack(t, block, sum_k, last < axes, grad_k);
                unpack(t, block, sum_v, last < axes, grad_v);
            }
#pragma omp for ordered schedule(static, 1)
            for (int thread = 0; thread < omp_get_num_threads(); thread++) {
#pragma omp ordered
                for (int64_t axis = first; own && axis < last; axis++) {
                    for (int64_t j = 0; grad_biases[axis] && j < heads * g.scores(axis); j++) grad_biases[axis][j] += *of_biases++;
                    for (int64_t j = axis * heads; grad_gates && j < (axis + 1) * heads; j++) grad_gates[j] += of_gates[j];
                }
            }
            std::free(own);
        }
    }
    return failed;
}

}  // extern "C"
