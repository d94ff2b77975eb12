// Work that is shared by threads, with results in order.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace hitpool {

// Calls work(i) for i = 0 .. count - 1 in `threads` threads, which call start() first, and take(result) for the results
// in this order in the calling thread. A few results wait to be taken, not more. The first error ends it.
template <class Start, class Work, class Take>
void in_order(int64_t count, int threads, const Start& start, const Work& work, const Take& take) {
  using Result = decltype(work(int64_t{}));
  std::mutex mutex;
  std::condition_variable changed;
  std::map<int64_t, Result> done;
  std::exception_ptr error;
  int64_t next = 0, taken = 0;
  const int64_t ahead = 2 * static_cast<int64_t>(threads);

  const auto run = [&] {
    std::unique_lock lock(mutex);
    try {
      start();
      while (true) {
        changed.wait(lock, [&] { return error || next >= count || next < taken + ahead; });
        if (error || next >= count) return;
        const int64_t own = next++;
        lock.unlock();
        Result result = work(own);
        lock.lock();
        done.emplace(own, std::move(result));
        changed.notify_all();
      }
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      if (!error) error = std::current_exception();
      changed.notify_all();
    }
  };

  {
    std::vector<std::jthread> workers;
    for (int t = 0; t < threads; ++t) workers.emplace_back(run);
    try {
      for (int64_t i = 0; i < count; ++i) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return error || done.contains(i); });
        if (error) break;
        auto result = done.extract(i);
        taken = i + 1;
        changed.notify_all();
        lock.unlock();
        take(std::move(result.mapped()));
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
      changed.notify_all();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace hitpool
