// Command line of hitpool-infer.
#pragma once
#include <filesystem>
#include <stdexcept>

namespace hitpool {

extern const char* const kHelp;

struct Options {
  std::filesystem::path model, data_set;
  std::filesystem::path output = "tracks.h5";
  int batch = 100;
  int threads = 1;
  bool help = false;
};

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws UsageError.
Options parse_options(int argc, char** argv);

}  // namespace hitpool
