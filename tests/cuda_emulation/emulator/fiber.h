// A thread of execution on a stack of its own, which gives up the processor only by pause().
#pragma once
#include <csetjmp>
#include <cstddef>

#include <ucontext.h>

namespace cuda_emulation {

class Fiber {
 public:
  // Runs on, or calls body() from the start, until pause() or the end of body(). body() is called again the next time.
  void resume(void (*body)());
  void pause();    // in the fiber: back to where resume was called
  void abandon();  // the next resume starts anew

  bool owns(const void* address, std::size_t size) const;  // is it on this stack?

 private:
  static void main();

  unsigned char* stack_ = nullptr;
  bool started_ = false;
  jmp_buf place_;
  ucontext_t context_;
};

}  // namespace cuda_emulation
