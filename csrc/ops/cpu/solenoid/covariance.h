// The covariance A = 1 + G G^T of the residuals, in units of their errors: its factors L D L^T and what is seen through
// them. G are the kinks. Hits are in the order of their paths, so that G is triangular as L is, both in blocks of the
// two coordinates of a hit.
#pragma once
#include "ops/cpu/solenoid/lanes.h"

namespace hitpool::cpu::solenoid {
namespace {

constexpr int kSeen = 8;  // numbers of a row that are seen through L: five derivatives, the residual, and two zeros

// The inverse of a block of D.
struct Block {
  double first, mixed, second;
};

class Covariance {
 public:
  static constexpr int kColumns = 3;
  // Memory for three matrices of rows x rows, and 8 rows.
  Covariance(Columns& columns, double* memory) : memory_(memory) {
    for (double*& column : inverse_) column = columns.take();
  }

  // Factors the covariance of `count` hits, padded to `size`; `kinks` are the columns of G.
  void factor(const double* kinks, int count, int size) {
    rows_ = 2 * size;
    lower_ = memory_;
    scaled_ = lower_ + int64_t{1} * rows_ * rows_;
    root_ = scaled_ + int64_t{1} * rows_ * rows_;
    for (int hit = 0; hit < count; ++hit) {
      const int row = row_of(hit);
      double *first = scaled_ + int64_t{2} * hit * rows_, *second = first + rows_;
      for (int tile = hit / 4 * 8; tile < rows_; tile += 8) {
        Eight to_first{}, to_second{}, from_first{}, from_second{};
        for (int64_t column = 0; column < int64_t{2} * hit * rows_; column += rows_) {
          const Eight kink = load<Eight>(kinks + column + tile), known = load<Eight>(scaled_ + column + tile);
          to_first += kinks[column + row] * kink;
          to_second += kinks[column + row + kSecond] * kink;
          from_first += lower_[column + row] * known;
          from_second += lower_[column + row + kSecond] * known;
        }
        store(first + tile, to_first - from_first);
        store(second + tile, to_second - from_second);
      }
      const double a = 1 + first[row], b = second[row], d = 1 + second[row + kSecond];
      const double determinant = 1 / (a * d - b * b);
      const Block block{d * determinant, -b * determinant, a * determinant};
      inverse_[0][hit] = block.first;
      inverse_[1][hit] = block.mixed;
      inverse_[2][hit] = block.second;
      double *lower_first = lower_ + int64_t{2} * hit * rows_, *lower_second = lower_first + rows_;
      for (int tile = hit / 4 * 8; tile < rows_; tile += 8) {
        const Eight one = load<Eight>(first + tile), other = load<Eight>(second + tile);
        store(lower_first + tile, block.first * one + block.mixed * other);
        store(lower_second + tile, block.mixed * one + block.second * other);
      }
    }
  }

  // L^-1, and L^-1 applied to what is `known` of each row, [rows, 8].
  void solve(const double* known, int count) {
    for (int hit = 0; hit < count; ++hit) {
      const int row = row_of(hit), own = hit / 4 * 8;
      for (int tile = 0; tile <= own; tile += 8) solve_lanes(hit, row, tile, tile / 2, Eight{}, Eight{});
      own_line(hit)[row] += 1;
      own_line(hit)[stride() + row + kSecond] += 1;
      const double* seen = known + int64_t{kSeen} * row;
      solve_lanes(hit, row, rows_, 0, load<Eight>(seen), load<Eight>(seen + kSecond * kSeen));
    }
  }

  Block inverse(int hit) const { return {inverse_[0][hit], inverse_[1][hit], inverse_[2][hit]}; }

  // The row of L^-1 for the first coordinate of a hit; that of the second is `stride` behind. In front of each row are
  // zeros but only up to its own tile.
  const double* line(int64_t hit) const { return root_ + 2 * hit * stride(); }

  // What is seen through L, of the first coordinate; that of the second is `stride` behind.
  const double* seen(int64_t hit) const { return line(hit) + rows_; }

  int stride() const { return rows_ + kSeen; }

 private:
  double* own_line(int64_t hit) { return root_ + 2 * hit * stride(); }

  // Eight numbers of both rows of a hit, from those of the hits from `begin` on.
  [[gnu::always_inline]] void solve_lanes(int64_t hit, int row, int tile, int64_t begin, Eight first, Eight second) {
    Eight more_first{}, more_second{};
    for (int64_t k = begin; k < hit; ++k) {
      const double* column = lower_ + 2 * k * rows_ + row;
      const Eight one = load<Eight>(line(k) + tile), other = load<Eight>(line(k) + stride() + tile);
      first -= column[0] * one;
      more_first -= column[rows_] * other;
      second -= column[kSecond] * one;
      more_second -= column[rows_ + kSecond] * other;
    }
    store(own_line(hit) + tile, first + more_first);
    store(own_line(hit) + stride() + tile, second + more_second);
  }

  double* memory_;
  double *lower_, *scaled_;  // columns of L and of L D, for each hit those of both coordinates
  double* root_;             // rows of L^-1, each with what is seen through L
  double* inverse_[3];       // of the blocks of D
  int rows_ = 0;
};

}  // namespace
}  // namespace hitpool::cpu::solenoid
