// What was found to be wrong, each thing once with its number.
#pragma once
#include <string>

namespace cuda_emulation {

void report(const std::string& what);
std::string place(const void* code);  // " pc=0x...": an address for addr2line
std::string take_reports();           // one per line; forgets them

}  // namespace cuda_emulation
