// The CPU kernel of solenoid_fit on plain pointers, compiled once for each instruction set like those of weighted_pool
// (see weighted_pool_kernel.h for why it knows no torch header). Metres, tesla, GeV, radians.
#pragma once
#include <cstdint>

namespace hitpool::cpu {

constexpr int kSolenoidFields = 11;   // of a hit: x, y, z, both axes of the module, two variances
constexpr int kSolenoidResults = 13;  // of a track
constexpr int kSolenoidTile = 4;      // hits of a track are padded to a multiple of this, so that loops fill vectors

struct SolenoidInputs {
  int64_t tracks;        // N, per event
  int64_t hits;          // M
  const double* fields;  // [B, M, 11]
  const double* logits;  // [B, N, M]
  const bool* valid;     // [B, M], or null: every hit is valid
  double threshold;
  int64_t max_hits;
  double field;              // along z
  double radiation_lengths;  // of a layer, along its normal
  double beam_spot[2];       // spread of the origins across and along the beam
};

struct SolenoidScratch {
  double* numbers;  // [solenoid_numbers]
  int32_t* list;    // [solenoid_list]
};

constexpr int64_t solenoid_padded(const SolenoidInputs& in) {
  const int64_t most = in.max_hits < in.hits ? in.max_hits : in.hits;
  return most < kSolenoidTile ? kSolenoidTile : (most + kSolenoidTile - 1) / kSolenoidTile * kSolenoidTile;
}
constexpr int kSolenoidColumns = 70;  // of scratch memory, one number for each hit of a track
constexpr int64_t solenoid_numbers(const SolenoidInputs& in) {
  const int64_t padded = solenoid_padded(in), rows = 2 * padded;
  return kSolenoidColumns * padded + 4 * rows * rows + 16 * rows;  // four matrices, of which one has 8 columns more
}
constexpr int64_t solenoid_list(const SolenoidInputs& in) { return in.hits + 2 * solenoid_padded(in); }

// Fits one of the B N tracks: of_track [B, N, 13], posterior [B, N, M].
using SolenoidKernel =
    void (*)(const SolenoidInputs&, double* of_track, double* posterior, int64_t track, const SolenoidScratch&);

extern const SolenoidKernel solenoid_kernel_baseline;
extern const SolenoidKernel solenoid_kernel_avx2;
extern const SolenoidKernel solenoid_kernel_avx512;

}  // namespace hitpool::cpu
