// The CPU kernel of toroid_fit on plain pointers, compiled once for each instruction set like those of weighted_pool
// (see weighted_pool_kernel.h for why it knows no torch header). Metres, tesla, GeV, radians.
#pragma once
#include <cstdint>

namespace hitpool::cpu {

constexpr int kToroidFields = 10;   // of a hit: x, y, z of both ends, drift radius, two variances, 1 for drift tubes
constexpr int kToroidResults = 10;  // of a track
constexpr int kToroidOfHits = 6;    // of a track and a hit
constexpr int kToroidBlock = 8;     // hits of a track are padded to a multiple of this, so that loops fill vectors

// What a track meets before the spectrometer.
struct ToroidGeometry {
  double solenoid_field, solenoid_radius, solenoid_length;  // half-lengths, here and below
  double calorimeter_in_radius, calorimeter_in_length, calorimeter_out_radius, calorimeter_out_length;
  double central_material, forward_material;  // in radiation lengths
  double energy_loss, vertex_spread;
};

// Strength / r inside boxes with soft edges.
struct BoxField {
  double barrel, endcap;  // B r in T m
  double barrel_inner, barrel_outer, barrel_end;
  double endcap_inner, endcap_outer, endcap_start, endcap_end;
  double softness;
};

// A table of B, linear between its points; `phi` covers one period and ends with its first angle, a period later.
struct FieldTable {
  const double *r, *z, *phi, *values;  // values [r_count, z_count, phi_count]; null: the box field is used
  int64_t r_count, z_count, phi_count;
  double period;
  bool mirrored;  // the same at -z
};

struct ToroidInputs {
  int64_t tracks;        // N, per event
  int64_t hits;          // M
  const double* fields;  // [B, M, 10]
  const double* logits;  // [B, N, M]
  const bool* valid;     // [B, M], or null: every hit is valid
  double threshold;
  int64_t max_hits;
  ToroidGeometry geometry;
  BoxField box;
  FieldTable table;
};

struct ToroidScratch {
  double* numbers;  // [toroid_numbers]
  int32_t* list;    // [toroid_list]
};

constexpr int64_t toroid_padded(const ToroidInputs& in) {
  const int64_t most = in.max_hits < in.hits ? in.max_hits : in.hits;
  return most < kToroidBlock ? kToroidBlock : (most + kToroidBlock - 1) / kToroidBlock * kToroidBlock;
}
constexpr int kToroidColumns = 44;  // of scratch memory, one number for each hit of a track
constexpr int64_t toroid_numbers(const ToroidInputs& in) { return in.hits + kToroidColumns * toroid_padded(in); }
constexpr int64_t toroid_list(const ToroidInputs& in) { return in.hits + toroid_padded(in); }

// Fits one of the B N tracks: of_track [B, N, 10], of_hits [B, N, 6, M].
using ToroidKernel =
    void (*)(const ToroidInputs&, double* of_track, double* of_hits, int64_t track, const ToroidScratch&);

extern const ToroidKernel toroid_kernel_baseline;
extern const ToroidKernel toroid_kernel_avx2;
extern const ToroidKernel toroid_kernel_avx512;

}  // namespace hitpool::cpu
