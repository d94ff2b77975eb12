// Global memory as the warps ask for it: one request per instruction of a warp, in sectors of 32 bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace cuda_emulation {

void start_traffic();
std::string take_traffic();  // a line per place in the code: pc=0x... read|write requests lanes sectors bytes
void count_traffic(uintptr_t address, std::size_t bytes, bool write, const void* code);
void end_of_block_traffic();

}  // namespace cuda_emulation
