// HITPOOL_TABLE(kernels) is kernels_baseline, kernels_avx2 or kernels_avx512: that of the instruction set for which the
// file is compiled.
#pragma once

#define HITPOOL_JOIN(name, isa) name##_##isa
#define HITPOOL_TABLE_OF(name, isa) HITPOOL_JOIN(name, isa)
#define HITPOOL_TABLE(name) HITPOOL_TABLE_OF(name, HITPOOL_ISA)
