// Whether the ops are known to torch in a program that is only linked with them, and whether their functions work.
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdio>

int main() {
  for (const char* op : {"hitpool::weighted_pool", "hitpool::pseudorapidity", "hitpool::attention"}) {
    if (!c10::Dispatcher::singleton().findSchema({op, ""})) {
      std::fprintf(stderr, "%s is not registered\n", op);
      return 1;
    }
  }
  std::puts("registered");
}
