// solenoid_fit: the annealed fit of tracks in the field of a solenoid, without derivative, on CPU: tensors on a GPU are
// copied there and the results back. Its definition is hitpool.fits.SolenoidFit.definition.
//
// hits [B, M, 11] float64: x, y, z of the measured point in m, x, y, z of the unit vectors along both measured
// coordinates, and the variances of these in m^2; logits [B, N, M] float64, valid [B, M] bool or none, False at padded
// hits, which may hold anything.
// field in T along z, radiation_lengths of a layer along its normal, beam_spot: spread of the origins across and along
// the beam in m.
// -> of tracks [B, N, 13] and the posterior of the hits [B, N, M], in the order of SolenoidFit.gives.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace hitpool {

// Throws unless the arguments fit together.
void check_solenoid_fit(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid, double field,
    double radiation_lengths, at::ArrayRef<double> beam_spot, double threshold, int64_t max_hits);

// Calls through the dispatcher.
std::tuple<at::Tensor, at::Tensor> solenoid_fit(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid, double field,
    double radiation_lengths, at::ArrayRef<double> beam_spot, double threshold, int64_t max_hits);

}  // namespace hitpool
