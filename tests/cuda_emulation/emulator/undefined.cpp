// What -fsanitize=undefined calls: behaviour that C++ leaves undefined is reported as everything else.
#include "report.h"

#define HITPOOL_UNDEFINED(name)                                                                                 \
  void __ubsan_handle_##name(void*, void*, void*) {                                                             \
    cuda_emulation::report("undefined behaviour: " #name + cuda_emulation::place(__builtin_return_address(0))); \
  }

extern "C" {
HITPOOL_UNDEFINED(type_mismatch_v1)  // null or misaligned
HITPOOL_UNDEFINED(pointer_overflow)
HITPOOL_UNDEFINED(shift_out_of_bounds)
HITPOOL_UNDEFINED(add_overflow)
HITPOOL_UNDEFINED(sub_overflow)
HITPOOL_UNDEFINED(mul_overflow)
HITPOOL_UNDEFINED(negate_overflow)
HITPOOL_UNDEFINED(divrem_overflow)
HITPOOL_UNDEFINED(out_of_bounds)
HITPOOL_UNDEFINED(load_invalid_value)
HITPOOL_UNDEFINED(invalid_builtin)
HITPOOL_UNDEFINED(nonnull_arg)
HITPOOL_UNDEFINED(builtin_unreachable)
HITPOOL_UNDEFINED(missing_return)
}
