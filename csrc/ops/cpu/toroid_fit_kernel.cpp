// The annealed fit of one track: eight times line in the transverse plane, frame, and fit in the bending plane; the
// first two to wires, then to drift circles whose errors shrink.
#include "ops/cpu/toroid_fit_kernel.h"

#include "ops/cpu/instruction_set.h"
#include "ops/cpu/toroid/fits.h"
#include "ops/cpu/toroid/start.h"

namespace hitpool::cpu {
namespace toroid {
namespace {

constexpr int kWireIterations = 2;
constexpr double kDriftWidths[] = {10e-3, 5e-3, 2.5e-3, 1.2e-3, 0.5e-3, 0};  // m, by which the errors are widened
constexpr int kIterations = kWireIterations + 6;
constexpr double kSteepest = 1.5341691443347332;  // rad, atan(sinh(4)): no detectors beyond
static_assert(kToroidColumns == Hits::kColumns + LineFit::kColumns + Frame::kColumns + Fits::kColumns);

double steepest(double dip) { return within(dip, -kSteepest, kSteepest); }

Line fit_line(
    const ToroidInputs& in, const Hits& hits, LineFit& fit, const double* weight, double azimuth, double dip,
    const Kinks& kinks, double kappa, double momentum, int iteration) {
  const auto& g = in.geometry;
  const double tan = larger(__builtin_fabs(__builtin_tan(dip)), 1e-6), cos = __builtin_cos(dip);
  const double exit_radius = smaller(g.solenoid_length / tan, g.solenoid_radius);
  const double qpt = iteration == 0 ? 0 : at_vertex(g, kappa) / cos;
  const double turn = kGevPerTeslaMetre * g.solenoid_field * exit_radius * qpt / 2;
  const double bend = 2 * __builtin_asin(within(turn, -0.5, 0.5));
  const double spread = scattering(g, dip, momentum) / cos;
  const int passes = iteration < kWireIterations ? 3 : 1;
  return fit.run(hits, weight, azimuth, bend, exit_radius, kinks, spread, passes, iteration <= kWireIterations);
}

// Residuals of the line through two hits that the fits to the wires begin from.
void start_residual(const Hits& hits, const Frame& frame, Fits& fits, double* key, int32_t* order) {
  const double* functions[kParameters];
  double loose[kParameters], start[kParameters];
  for (int j = 0; j < kParameters; ++j) {
    functions[j] = frame.function[j];
    loose[j] = (j == 3 || j == 4 ? 2 : 1) * frame.prior[j];
  }
  start_parameters(hits, frame.u, frame.v, functions, loose, key, order, start);
  frame.residual(hits, start, fits.residual);
}

void write_hits(const ToroidInputs& in, const Hits& hits, const Fits& fits, double* of_hits) {
  const int64_t count = in.hits;
  for (int64_t i = 0; i < kToroidOfHits * count; ++i) of_hits[i] = 0;
  for (int i = 0; i < hits.count; ++i) {
    double* own = of_hits + hits.number[i];
    own[0] = fits.posterior[i];
    own[count] = fits.distance[i];
    own[2 * count] = hits.radius[i];
    own[3 * count] = hits.error[i];
    own[4 * count] = hits.tube[i];
    own[5 * count] = hits.p[i] > 0;
  }
}

void fit_track(const ToroidInputs& in, double* of_track, double* of_hits, int64_t track, const ToroidScratch& scratch) {
  Columns columns(scratch.numbers + in.hits, toroid_padded(in));
  int32_t* order = scratch.list + in.hits;
  Hits hits(columns, scratch.list);
  LineFit line_fit(columns);
  Frame frame(columns);
  Fits fits(columns);
  gather(in, track, scratch.numbers, hits);

  double azimuth = start_azimuth(hits, fits.posterior, fits.distance);
  double dip = steepest(start_dip(hits, fits.posterior, order));
  double kappa = 0.1;
  Line line{};
  Parameters fit{};
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    const bool to_wires = iteration < kWireIterations;
    const double momentum = 1 / within(__builtin_fabs(kappa), 1e-3, 0.5);
    const double* weight = iteration <= kWireIterations ? hits.sharp : fits.posterior;
    const Kinks kinks(in.geometry, dip);
    line = fit_line(in, hits, line_fit, weight, azimuth, dip, kinks, kappa, momentum, iteration);
    azimuth = line.vertex;
    frame.set(in, hits, line, kinks, dip, momentum, iteration == 0 ? nullptr : &fit);
    if (iteration == 0) start_residual(hits, frame, fits, fits.posterior, order);
    else frame.residual(hits, fit.values, fits.residual);
    if (to_wires) {
      fit = fits.wires(hits, frame);
      dip = steepest(dip + __builtin_atan(fit.values[1]));
      fit.values[1] = 0;
    } else {
      fit = fits.drift(hits, frame, dip, fit, kDriftWidths[iteration - kWireIterations]);
    }
    kappa = fit.values[2];
  }

  dip = steepest(dip + __builtin_atan(fit.values[1]));
  const double cos = __builtin_cos(dip);
  double pull = 0;
  for (int j = 0; j < kParameters; ++j) pull += square(fit.values[j] / frame.prior[j]);
  const double results[kToroidResults] = {
      __builtin_asinh(__builtin_tan(dip)),
      wrapped(azimuth),
      at_vertex(in.geometry, kappa) / cos,
      kappa,
      __builtin_sqrt(fit.variance(2)),
      __builtin_sqrt(fit.variance(1)) / cos,
      wrapped(line.direction),
      total(fits.posterior, hits.size),
      fits.chi2(hits),
      fits.log_likelihood(hits) - 0.5 * pull};
  for (int j = 0; j < kToroidResults; ++j) of_track[track * kToroidResults + j] = results[j];
  write_hits(in, hits, fits, of_hits + track * kToroidOfHits * in.hits);
}

}  // namespace
}  // namespace toroid

constinit const ToroidKernel HITPOOL_TABLE(toroid_kernel) = toroid::fit_track;

}  // namespace hitpool::cpu
