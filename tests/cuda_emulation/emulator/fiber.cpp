#include "fiber.h"

#include <cstdint>
#include <cstdlib>

#include <sys/mman.h>

namespace cuda_emulation {
namespace {

constexpr std::size_t kStack = 256 << 10, kGuard = 4096;

jmp_buf caller;  // of resume
Fiber* running = nullptr;
void (*function)() = nullptr;

}  // namespace

void Fiber::main() {
  for (;;) {
    function();
    running->pause();
  }
}

void Fiber::pause() {
  if (_setjmp(place_) == 0) _longjmp(caller, 1);
}

void Fiber::abandon() { started_ = false; }

void Fiber::resume(void (*body)()) {
  running = this;
  function = body;
  if (_setjmp(caller) != 0) return;
  if (started_) _longjmp(place_, 1);
  started_ = true;
  if (stack_ == nullptr) {
    void* memory =
        mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kGuard, PROT_NONE) != 0) std::abort();
    stack_ = static_cast<unsigned char*>(memory) + kGuard;
  }
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = kStack;
  context_.uc_link = nullptr;
  makecontext(&context_, &Fiber::main, 0);
  setcontext(&context_);
}

bool Fiber::owns(const void* address, std::size_t size) const {
  const auto at = static_cast<const unsigned char*>(address);
  return stack_ <= at && at + size <= stack_ + kStack;
}

}  // namespace cuda_emulation
