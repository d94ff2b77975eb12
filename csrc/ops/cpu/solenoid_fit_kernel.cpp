// The annealed fit of one track in a solenoid: seven steps from a circle and a line, with measurement errors that are
// widened less and less.
#include "ops/cpu/solenoid_fit_kernel.h"

#include "ops/cpu/instruction_set.h"
#include "ops/cpu/solenoid/step.h"

namespace hitpool::cpu {
namespace solenoid {
namespace {

constexpr double kWidths[] = {30e-3, 10e-3, 3e-3, 1e-3, 0.1e-3, 0, 0};  // m, by which the errors are widened
constexpr double kSpread[] = {1, 10, 1};  // of the priors of phi, cot(theta) and curvature: far more than is measured
static_assert(kSolenoidColumns == Hits::kColumns + Start::kColumns + Crossings::kColumns + Step::kColumns);

void write(const SolenoidInputs& in, const Helix& helix, const Hits& hits, const Step& step, double* of_track) {
  double error[kParameters];
  for (int j = 0; j < kParameters; ++j) error[j] = __builtin_sqrt(larger(step.covariance[j][j], 0));
  const double charge = -1 / (kGevPerTeslaMetre * in.field);
  const double results[kSolenoidResults] = {
      __builtin_asinh(helix.cot),
      wrapped(helix.phi),
      charge * helix.kappa,
      helix.d0,
      helix.z0,
      __builtin_fabs(charge) * error[4],
      error[3] / __builtin_sqrt(1 + square(helix.cot)),
      error[2],
      error[0],
      error[1],
      step.num_hits(hits),
      step.chi2,
      step.log_likelihood(hits)};
  for (int j = 0; j < kSolenoidResults; ++j) of_track[j] = results[j];
}

void fit_track(
    const SolenoidInputs& in, double* of_track, double* posterior, int64_t track, const SolenoidScratch& scratch) {
  const int64_t padded = solenoid_padded(in);
  Columns columns(scratch.numbers, padded);
  Hits hits(columns, scratch.list, scratch.list + in.hits);
  Start start(columns);
  Crossings crossings(columns);
  Step step(columns, scratch.numbers + kSolenoidColumns * padded, 2 * padded);
  gather(in, track, hits);

  const double prior[kParameters] = {in.beam_spot[0], in.beam_spot[1], kSpread[0], kSpread[1], kSpread[2]};
  Helix helix = start.run(hits);
  const double middle = helix.phi;  // of the prior of phi
  for (const double width : kWidths) {
    const double centre[kParameters] = {-helix.d0, -helix.z0, middle - helix.phi, -helix.cot, -helix.kappa};
    crossings.set(helix, hits);
    step.run(in, helix, hits, crossings, width, prior, centre);
    helix.d0 += step.change[0];
    helix.z0 += step.change[1];
    helix.phi += step.change[2];
    helix.cot += step.change[3];
    helix.kappa += step.change[4];
    if (hits.count == 0) break;  // what the priors say
  }
  write(in, helix, hits, step, of_track + track * kSolenoidResults);
  double* own = posterior + track * in.hits;
  for (int64_t m = 0; m < in.hits; ++m) own[m] = 0;
  for (int i = 0; i < hits.count; ++i) own[hits.number[i]] = hits.posterior[i];
}

}  // namespace
}  // namespace solenoid

constinit const SolenoidKernel HITPOOL_TABLE(solenoid_kernel) = solenoid::fit_track;

}  // namespace hitpool::cpu
