// hitpool-infer: runs an exported model on a data set, without Python.
#include <ATen/Parallel.h>
#include <hitpool/model.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <vector>

#include "apps/data_set.h"
#include "apps/options.h"
#include "apps/ordered.h"
#include "apps/tracks_file.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A line on the terminal that is written again and again; nothing if stderr is none.
class Progress {
 public:
  explicit Progress(int64_t total) : total_(total), is_shown_(isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (is_shown_) std::fprintf(stderr, "\r\033[K");
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(int64_t done) {
    if (!is_shown_ || seconds_since(last_) < 0.1) return;
    last_ = Clock::now();
    std::fprintf(stderr, "\r%lld of %lld events", static_cast<long long>(done), static_cast<long long>(total_));
  }

 private:
  int64_t total_;
  bool is_shown_;
  Clock::time_point last_;
};

// The smallest value that is not below the fraction of them.
double quantile(const std::vector<double>& sorted, double fraction) {
  const auto position = static_cast<size_t>(fraction * static_cast<double>(sorted.size()));
  return sorted.empty() ? 0 : sorted[std::min(position, sorted.size() - 1)];
}

void start_thread() {
  at::set_num_threads(1);
  hitpool::h5::print_no_errors();
}

void run(const hitpool::Options& options) {
  start_thread();
  const hitpool::Model model(options.model, options.threads);
  hitpool::DataSet data_set(options.data_set, model.columns());
  hitpool::TracksFile file(options.output, model);

  struct Result {
    int64_t first;
    hitpool::Tracks tracks;
    double seconds;  // of the model alone
  };
  const int64_t events = data_set.size(), batches = (events + options.batch - 1) / options.batch;
  std::vector<double> latencies;
  const auto start = Clock::now();
  {
    Progress progress(events);
    hitpool::in_order(
        batches, options.threads, start_thread,
        [&](int64_t number) {
          const int64_t first = number * options.batch;
          const auto batch = data_set.read(first, std::min<int64_t>(options.batch, events - first));
          const auto began = Clock::now();
          hitpool::Tracks tracks = model(batch.hits, batch.valid);
          return Result{first, std::move(tracks), seconds_since(began)};
        },
        [&](Result result) {
          file.append(result.first, result.tracks);
          latencies.push_back(result.seconds);
          progress.show(result.first);
        });
  }
  file.finish();
  const double elapsed = seconds_since(start);
  std::sort(latencies.begin(), latencies.end());
  std::printf(
      "%s: %lld events in %.2f s, %.0f events/s; a batch of %d: median %.2f ms, 99th percentile %.2f ms\n",
      options.output.c_str(), static_cast<long long>(events), elapsed, static_cast<double>(events) / elapsed,
      options.batch, 1e3 * quantile(latencies, 0.5), 1e3 * quantile(latencies, 0.99));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const hitpool::Options options = hitpool::parse_options(argc, argv);
    if (options.help) std::fputs(hitpool::kHelp, stdout);
    else run(options);
  } catch (const hitpool::UsageError& error) {
    std::fprintf(stderr, "hitpool-infer: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hitpool-infer: %s\n", error.what());
    return 1;
  }
}
