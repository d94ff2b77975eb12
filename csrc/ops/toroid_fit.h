// toroid_fit: the annealed fit of muon tracks in a toroid spectrometer, without derivative, on CPU: tensors on a GPU are
// copied there and the results back. Its definition is hitpool.fits.ToroidFit.definition.
//
// hits [B, M, 10] float64: x, y, z of both ends of the wire or strip in m, drift radius in m, its variance (for a strip
// that of the measured coordinate) and the variance along the wire in m^2, 1 for drift tubes and 0 for strips; logits
// [B, N, M] float64, valid [B, M] bool or none, False at padded hits, which may hold anything.
// geometry: 11 numbers, those of hitpool.fits.Geometry in their order. field and table are either the 10 numbers of
// hitpool.fits.BoxToroid in their order and no tensor, or one without elements since AOTInductor loses a list of none; or
// the period in rad and 1 if the table is mirrored at z = 0 (else 0), and the tensors r [R], z [Z], phi [P] and
// B [R, Z, P] float64 of hitpool.fits.FieldMap.
// -> of tracks [B, N, 10] and of hits [B, N, 6, M], in the order of ToroidFit.gives.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace hitpool {

// Does `table` hold one? Else the field is a box.
bool has_table(at::TensorList table);

// Throws unless the arguments fit together.
void check_toroid_fit(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid,
    at::ArrayRef<double> geometry, at::ArrayRef<double> field, at::TensorList table, double threshold,
    int64_t max_hits);

// Calls through the dispatcher.
std::tuple<at::Tensor, at::Tensor> toroid_fit(
    const at::Tensor& hits, const at::Tensor& logits, const std::optional<at::Tensor>& valid,
    at::ArrayRef<double> geometry, at::ArrayRef<double> field, at::TensorList table, double threshold,
    int64_t max_hits);

}  // namespace hitpool
