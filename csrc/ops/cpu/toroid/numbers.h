// The arithmetic that the toroid fit shares with other fits.
#pragma once
#include "ops/cpu/fit/numbers.h"

namespace hitpool::cpu::toroid {
using namespace fit;
}
