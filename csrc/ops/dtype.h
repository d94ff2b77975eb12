// Types that numbers are stored in, for kernels that know no torch header.
#pragma once

namespace hitpool {

enum class Dtype { float64, float32, bfloat16, float16 };

}  // namespace hitpool
