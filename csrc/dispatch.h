// Calls through torch's dispatcher, which chooses the kernel.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>

namespace hitpool {

// static const auto op = find_op<decltype(pseudorapidity)>("hitpool::pseudorapidity");
template <class Function>
c10::TypedOperatorHandle<Function> find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

}  // namespace hitpool
