// What vitkit.corruptions.random and .image.codec do a number at a time. Floating point is rounded after every operation, as
// torch's is: so the compiler may not contract products and sums, and all results are torch's, bit for bit.

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t PIECE = 1 << 12;

inline uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}

inline uint32_t hash(uint32_t place, uint32_t first, uint32_t second) { return mix(mix(place * 0x9E3779B9u + first) + second); }

inline float as_float(uint32_t x) {
    float found;
    std::memcpy(&found, &x, 4);
    return found;
}

inline uint32_t as_bits(float x) {
    uint32_t found;
    std::memcpy(&found, &x, 4);
    return found;
}

// sqrt(-2 ln u) for u = (k + 1) / 2^24, k being the upper 24 bits.
inline float distance(uint32_t drawn) {
    const uint32_t root_half = 0x3F3504F3;
    const float u = static_cast<float>(static_cast<int32_t>(drawn >> 8) + 1);
    const int32_t parts = static_cast<int32_t>(as_bits(u) - root_half);
    const float exponent = static_cast<float>((parts >> 23) - 24);
    const float m = as_float((static_cast<uint32_t>(parts) & 0x7FFFFF) + root_half);
    const float s = (m - 1.0f) / (m + 1.0f), square = s * s;
    float series = square * static_cast<float>(2.0 / 9) + static_cast<float>(2.0 / 7);
    series = series * square + static_cast<float>(2.0 / 5);
    series = series * square + static_cast<float>(2.0 / 3);
    series = (series * square + 2.0f) * s;
    const float found = (exponent * static_cast<float>(0.6931471805599453) + series) * -2.0f;
    return std::sqrt(found > 0.0f ? found : 0.0f);
}

// Cosine and sine of an angle in [-pi/4, pi/4) by the upper 24 bits, turned by two of the others.
inline void direction(uint32_t drawn, float& cosine, float& sine) {
    const float a = static_cast<float>(static_cast<int32_t>(drawn) >> 8) * static_cast<float>(1.5707963267948966 / 16777216);
    const float square = a * a;
    float s = square * static_cast<float>(1.0 / 362880) + static_cast<float>(-1.0 / 5040);
    s = s * square + static_cast<float>(1.0 / 120);
    s = s * square + static_cast<float>(-1.0 / 6);
    s = (s * square + 1.0f) * a;
    float c = square * static_cast<float>(1.0 / 40320) + static_cast<float>(-1.0 / 720);
    c = c * square + static_cast<float>(1.0 / 24);
    c = c * square - 0.5f;
    c = c * square + 1.0f;
    c *= 1.0f - static_cast<float>(drawn & 2);
    const bool swapped = drawn & 1;
    cosine = swapped ? s : c;
    sine = swapped ? c : s;
}

// Calls work(row, from, to) for pieces of rows of `count`, on several threads.
template <typename Work>
void in_pieces(int64_t rows, int64_t count, int64_t threads, Work work) {
    const int64_t pieces = (count + PIECE - 1) / PIECE;
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * pieces > 1)
    for (int64_t index = 0; index < rows * pieces; index++) {
        const int64_t from = index % pieces * PIECE;
        work(index / pieces, from, from + PIECE < count ? from + PIECE : count);
    }
}

// Numbers of events for rates at places from `from` to `to`, with normal numbers w.
void events(const uint32_t* key, const float* rates, const float* power, const float* w, float* out, int64_t from, int64_t to) {
    constexpr int64_t SOME = 256;
    for (int64_t start = from; start < to; start += SOME, w += SOME) {
        const int64_t count = start + SOME < to ? SOME : to - start;
        const float* rate = rates + start;
        float drawn[SOME], term[SOME], below[SOME], few[SOME];
        for (int64_t i = 0; i < count; i++) {
            drawn[i] = static_cast<float>(static_cast<int32_t>(hash(static_cast<uint32_t>(start + i), key[0], key[1]) >> 8)) * 0x1p-24f;
            term[i] = below[i] = power[start + i];
            few[i] = 0;
        }
        double factorial = 1;
        for (int events = 1; events < 19; events++) {
            factorial *= events;
            const float by = static_cast<float>(1 / factorial);
            for (int64_t i = 0; i < count; i++) {
                few[i] += drawn[i] >= below[i] ? 1.0f : 0.0f;
                term[i] *= rate[i] < 4 ? rate[i] : 4.0f;
                below[i] += term[i] * by;
            }
        }
        for (int64_t i = 0; i < count; i++) {
            const float root = std::sqrt(rate[i] < 1 ? 1.0f : rate[i]), square = w[i] * w[i];
            float many = square * static_cast<float>(1.0 / 270) + static_cast<float>(7.0 / 810);
            many = (many * square + static_cast<float>(-8.0 / 405)) / root;
            many = (many - (square * 0.5f + 1.0f) * w[i] * static_cast<float>(1.0 / 36)) / root;
            many = many + square * static_cast<float>(1.0 / 6) + static_cast<float>(1.0 / 3) + w[i] * root + rate[i];
            many = std::floor(many);
            out[start + i] = rate[i] < 4 ? few[i] : many < 0 ? 0.0f : many;  // what is no number stays none
        }
    }
}

}  // namespace

extern "C" {

// keys: two of each row; out: (rows, count)
void vitkit_bits(const uint32_t* keys, uint32_t* out, int64_t rows, int64_t count, int64_t threads) {
    in_pieces(rows, count, threads, [=](int64_t row, int64_t from, int64_t to) {
        const uint32_t first = keys[2 * row], second = keys[2 * row + 1];
        for (int64_t i = from; i < to; i++) out[row * count + i] = hash(static_cast<uint32_t>(i), first, second);
    });
}

void vitkit_uniform(const uint32_t* keys, float* out, int64_t rows, int64_t count, int64_t threads) {
    in_pieces(rows, count, threads, [=](int64_t row, int64_t from, int64_t to) {
        const uint32_t first = keys[2 * row], second = keys[2 * row + 1];
        for (int64_t i = from; i < to; i++) {
            const uint32_t drawn = hash(static_cast<uint32_t>(i), first, second);
            out[row * count + i] = static_cast<float>(static_cast<int32_t>(drawn >> 8)) * 0x1p-24f;
        }
    });
}

// out: (rows, 2, half)
void vitkit_normal(const uint32_t* keys, float* out, int64_t rows, int64_t half, int64_t threads) {
    in_pieces(rows, half, threads, [=](int64_t row, int64_t from, int64_t to) {
        const uint32_t first = keys[2 * row], second = keys[2 * row + 1];
        float *one = out + row * 2 * half, *other = one + half;
        for (int64_t i = from; i < to; i++) {
            const float far = distance(hash(static_cast<uint32_t>(i), first, second));
            float cosine, sine;
            direction(hash(static_cast<uint32_t>(half + i), first, second), cosine, sine);
            one[i] = far * cosine;
            other[i] = far * sine;
        }
    });
}

// keys: two of each row for a uniform and two for a normal number; rates: (rows, count); power: exp(-rate), of 4 at most; out:
// (rows, 2, half), of which the first `count` of a row are wanted. Source: vitkit.corruptions.random.poisson.
void vitkit_poisson(const uint32_t* keys, const float* rates, const float* power, float* out, int64_t rows, int64_t count,
                    int64_t threads) {
    const int64_t half = (count + 1) / 2;
    in_pieces(rows, half, threads, [=](int64_t row, int64_t from, int64_t to) {
        const uint32_t* key = keys + 4 * row;
        float far[PIECE], sine[PIECE];
        for (int64_t i = from; i < to; i++) {
            const float radius = distance(hash(static_cast<uint32_t>(i), key[2], key[3]));
            float c, s;
            direction(hash(static_cast<uint32_t>(half + i), key[2], key[3]), c, s);
            far[i - from] = radius * c;
            sine[i - from] = radius * s;
        }
        events(key, rates + row * count, power + row * count, far, out + row * 2 * half, from, to);
        events(key, rates + row * count, power + row * count, sine, out + row * 2 * half, half + from,
               half + to < count ? half + to : count);
    });
}

// From planes (3, count) of values in [0, 1] to pixels (count, 3) of 256 levels, on the calling thread.
void vitkit_pixels(const float* planes, uint8_t* pixels, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        for (int channel = 0; channel < 3; channel++)
            pixels[3 * i + channel] = static_cast<uint8_t>(static_cast<int32_t>(planes[channel * count + i] * 255.0f + 0.5f));
}

void vitkit_planes(const uint8_t* pixels, float* planes, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        for (int channel = 0; channel < 3; channel++)
            planes[channel * count + i] = static_cast<float>(pixels[3 * i + channel]) * static_cast<float>(1.0 / 255);
}

}  // extern "C"
