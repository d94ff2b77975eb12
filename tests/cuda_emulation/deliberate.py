"""Deliberate mistakes in the kernels: what is replaced by what, in a copy of csrc/ops."""

from typing import NamedTuple

FORWARD = "cuda/weighted_pool_forward.cu"
LOGITS = "cuda/weighted_pool_backward_logits.cu"
FEATURES = "cuda/weighted_pool_backward_features.cu"
SCAN = "cuda/scan.cuh"
PROBLEM = "cuda/problem.cuh"
FORMULA = "weighted_pool_formula.h"


class Mistake(NamedTuple):
    name: str
    file: str
    code: str
    wrong: str


MISTAKES = (
    # a barrier is missing
    Mistake("results overwrite the list", FORWARD, "__syncwarp();  // the list has been read", ""),
    Mistake(
        "results are merged before they are there",
        FORWARD,
        "    __syncthreads();\n\n    weight_sum = 0;",
        "    weight_sum = 0;",
    ),
    Mistake("results are overwritten", FORWARD, "__syncthreads();  // the results have been read", ""),
    Mistake("the list is overwritten", SCAN, "__syncwarp();  // the list has been read", ""),
    Mistake("the list is read too early", SCAN, "__syncwarp();  // the list has been written", ""),
    Mistake(
        "a sum over the block is overwritten",
        SCAN,
        "__syncthreads();  // the numbers of the sum before have been read",
        "",
    ),
    Mistake("a sum over the block is read too early", SCAN, "= x;\n  __syncthreads();", "= x;"),
    Mistake("dots are read too early", LOGITS, "      __syncwarp();\n    };", "    };"),
    Mistake("what was found is overwritten", FEATURES, "__syncthreads();  // the memory has been read", ""),
    Mistake("what was found is read too early", FEATURES, "          __syncthreads();\n        }", "        }"),
    # threads part
    Mistake("votes of some lanes", SCAN, "if (!__any_sync(kAllLanes, any)) continue;", "if (!any) continue;"),
    Mistake(
        "every lane has its own tracks",
        FEATURES,
        "const uint32_t any = warp_or(tracks);",
        "const uint32_t any = tracks;",
    ),
    Mistake(
        "some threads leave before the barrier",
        FORWARD,
        "    __syncthreads();\n\n    weight_sum = 0;",
        "    if (lane > 0) return;\n    __syncthreads();\n\n    weight_sum = 0;",
    ),
    Mistake(
        "dots of some lanes",
        LOGITS,
        "if (count > 0) gather(count);",
        "if (count > static_cast<int>(threadIdx.x % kWarp)) gather(count);",
    ),
    # lanes
    Mistake("lanes are merged one step late", FORWARD, "offset = first;", "offset = 2 * first;"),
    Mistake("hits come from other lanes than maxima", FORWARD, "c.high_hit, offset)", "c.high_hit, offset / 2)"),
    Mistake("a dot misses a step", LOGITS, "offset = 1 << in.lane_bits >> 1;", "offset = 1 << in.lane_bits >> 2;"),
    Mistake("a lane counts itself", SCAN, "(1u << threadIdx.x % kWarp) - 1", "(2u << threadIdx.x % kWarp) - 1"),
    Mistake(
        "a sum over the warp misses a step",
        SCAN,
        "offset = kWarp / 2; offset > 0; offset /= 2) x",
        "offset = kWarp / 4; offset > 0; offset /= 2) x",
    ),
    # bounds and alignment
    Mistake(
        "columns beyond the last",
        PROBLEM,
        "left < kPacket<F> ? static_cast<int>(left)",
        "left < kPacket<F> ? kPacket<F>",
    ),
    Mistake("a packet of logits beyond the row", SCAN, "is_hit(first) && is_hit(first + n - 1)", "is_hit(first)"),
    Mistake(
        "a packet of logits before the row", SCAN, "is_hit(first) && is_hit(first + n - 1)", "is_hit(first + n - 1)"
    ),
    Mistake("the list overflows", SCAN, "count <= capacity - kStep", "count <= capacity"),
    Mistake("packets although D does not fit", PROBLEM, "in.features % kPacket<F> == 0 && ", ""),
    Mistake("packets although an array does not fit", PROBLEM, "% 16 == 0", "% 4 == 0"),
    Mistake(
        "packets of zeros that do not fit", LOGITS, "starts_packet(grad_logits) && starts_packet(in.logits)", "true"
    ),
    Mistake("hits beyond the last", FEATURES, "slot < kHits && first_hit + slot < in.hits", "slot < kHits"),
    Mistake(
        "parts overlap",
        SCAN,
        "(part + 1) * in.hits / parts) + before",
        "(part + 1) * in.hits / parts) + before + (part == 0)",
    ),
    # meaning
    Mistake("padding counts", FEATURES, "(in.valid == nullptr || in.valid[event * in.hits + hit])", "true"),
    Mistake("the last of equal hits", FORMULA, "x <= extremum", "x < extremum"),
    Mistake(
        "weights of the first warp",
        FORWARD,
        "for (int w = 0; w < warps; ++w) weight_sum",
        "for (int w = 0; w < 1; ++w) weight_sum",
    ),
    Mistake(
        "weights of the first part",
        FORWARD,
        "weight_sum += other_weight_sum[u];",
        "weight_sum = other_weight_sum[0];",
    ),
    Mistake(
        "the factor of one track",
        FEATURES,
        "if (any >> lane & 1u) mine.factor",
        "if (lane == 0 && (any & 1u)) mine.factor",
    ),
    Mistake(
        "extreme is the next hit", FEATURES, "(found.extreme[t] >> slot & 1u)", "(found.extreme[t] >> (slot ^ 1) & 1u)"
    ),
    Mistake("the dot of the last tile", LOGITS, "tile == 0 ? dot : list.dot[k] + dot", "dot"),
    Mistake(
        "no zeros",
        LOGITS,
        "WarpMemory<T>::capacity, to_row, zeros_in_packets",
        "WarpMemory<T>::capacity, static_cast<L*>(nullptr), zeros_in_packets",
    ),
    Mistake("no floor under the sum of weights", FORMULA, "(weight_sum < floor ? floor : weight_sum)", "weight_sum"),
)
