// consumer MODEL CHECK_EVENTS   runs the check events from eight threads at once and compares the results
// consumer MODEL wrong-columns | wrong-dtype | wrong-dims | wrong-valid | wrong-valid-dtype
// consumer MODEL one-event      hits without the dimension of events, transposed in memory, and the ops as functions
#include <ATen/Parallel.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <hitpool/check_events.h>
#include <hitpool/model.h>
#include <hitpool/ops.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kThreads = 8, kRounds = 3;

void check(const hitpool::Model& model, const std::string& path) {
  const hitpool::CheckEvents events = hitpool::read_check_events(path);
  std::vector<double> worst(kThreads, 0);
  std::vector<std::exception_ptr> errors(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      at::set_num_threads(1);
      try {
        for (size_t i = 0; i < kRounds * events.cases.size(); ++i) {
          const auto& one = events.cases[(i + t) % events.cases.size()];
          worst[t] = std::max(worst[t], hitpool::difference(one, model(one.hits, one.valid)));
        }
      } catch (...) {
        errors[t] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  const double largest = *std::max_element(worst.begin(), worst.end());
  if (!(largest <= events.tolerance)) {
    const std::string numbers = std::to_string(largest) + ", allowed is " + std::to_string(events.tolerance);
    throw std::runtime_error("the results differ by " + numbers);
  }
  std::printf(
      "%zu cases agree to %.1e in %d threads; %zu columns, %zu parameters\n", events.cases.size(), largest, kThreads,
      model.columns().size(), model.fields().size());
}

void call_wrongly(const hitpool::Model& model, const std::string& how) {
  const auto columns = static_cast<int64_t>(model.columns().size());
  const at::Tensor hits = at::rand({2, 5, columns}), valid = at::ones({2, 5}, at::kBool);
  if (how == "wrong-columns") model(at::rand({2, 5, columns + 1}), valid);
  if (how == "wrong-dtype") model(hits.to(at::kDouble), valid);
  if (how == "wrong-dims") model(hits.unsqueeze(0), valid);
  if (how == "wrong-valid") model(hits, valid.slice(1, 0, 4));
  if (how == "wrong-valid-dtype") model(hits, valid.to(at::kFloat));
  throw std::logic_error("nothing was refused");
}

bool equal(const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() && a.equal(b); }

void run_one_event(const hitpool::Model& model) {
  const at::Tensor columns = at::rand({static_cast<int64_t>(model.columns().size()), 40});
  const hitpool::Tracks one = model(columns.t());
  const hitpool::Tracks batch = model(columns.t().contiguous().unsqueeze(0), at::ones({1, 40}, at::kBool));
  if (!equal(one.parameters.nan_to_num(), batch.parameters.squeeze(0).nan_to_num()) ||
      !equal(one.hit_probability, batch.hit_probability.squeeze(0)))
    throw std::runtime_error("one event gives another result than a batch of it");
  const at::Tensor pooled = hitpool::weighted_pool(one.hit_probability, columns.t());  // [N, 4, C]
  const at::Tensor eta = hitpool::pseudorapidity(at::ones({1}));
  std::printf("%lld slots, eta(1) = %.6f\n", static_cast<long long>(pooled.size(0)), eta.item<double>());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: consumer MODEL CHECK_EVENTS|wrong-...|one-event\n");
    return 2;
  }
  try {
    const hitpool::Model model(argv[1], 4);
    const std::string what = argv[2];
    if (what == "one-event") run_one_event(model);
    else if (what.starts_with("wrong-")) call_wrongly(model, what);
    else check(model, what);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "consumer: %s\n", error.what());
    return 1;
  }
}
