// What weighted_pool cannot do without, in plain loops: read the logits once, read the feature rows that any track of
// the event selects once, write the results once. Compiled and called by floor.py.
#include <cstddef>
#include <cstdint>

namespace {

constexpr std::size_t kParallel = std::size_t{1} << 16;  // bytes from which threads pay

// Wrapping sum of everything read, so that no read can be left out.
template <class Word>
std::uint64_t read(const Word* data, std::int64_t count, int threads) {
  Word sum = 0;
#pragma omp parallel for simd num_threads(threads) reduction(+ : sum) if (count * sizeof(Word) > kParallel)
  for (std::int64_t i = 0; i < count; ++i) sum += data[i];
  return sum;
}

template <class Word>
std::uint64_t read_rows(const Word* data, const std::int64_t* rows, std::int64_t count, std::int64_t width,
                        int threads) {
  Word sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum) if (count * width * sizeof(Word) > kParallel)
  for (std::int64_t i = 0; i < count; ++i) {
    const Word* row = data + rows[i] * width;
    Word part = 0;
#pragma omp simd reduction(+ : part)
    for (std::int64_t d = 0; d < width; ++d) part += row[d];
    sum += part;
  }
  return sum;
}

template <class Word>
void write(Word* data, std::int64_t count, Word value, int threads) {
#pragma omp parallel for simd num_threads(threads) if (count * sizeof(Word) > kParallel)
  for (std::int64_t i = 0; i < count; ++i) data[i] = value;
}

}  // namespace

#define FLOOR(BITS)                                                                                                  \
  extern "C" std::uint64_t read_##BITS(const void* data, std::int64_t count, int threads) {                          \
    return read(static_cast<const std::uint##BITS##_t*>(data), count, threads);                                      \
  }                                                                                                                  \
  extern "C" std::uint64_t read_rows_##BITS(const void* data, const std::int64_t* rows, std::int64_t count,          \
                                            std::int64_t width, int threads) {                                       \
    return read_rows(static_cast<const std::uint##BITS##_t*>(data), rows, count, width, threads);                    \
  }                                                                                                                  \
  extern "C" void write_##BITS(void* data, std::int64_t count, std::uint64_t value, int threads) {                   \
    write(static_cast<std::uint##BITS##_t*>(data), count, static_cast<std::uint##BITS##_t>(value), threads);         \
  }

FLOOR(16)
FLOOR(32)
FLOOR(64)
