#include "apps/options.h"

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

namespace hitpool {

const char* const kHelp =
    "usage: hitpool-infer MODEL DATASET [options]\n"
    "\n"
    "Run an exported model, TorchScript (.pt) or an AOTInductor package (.pt2), on all events of a data set.\n"
    "\n"
    "  MODEL          what hitpool export has written\n"
    "  DATASET        folder with metadata.yaml; its columns are found by name\n"
    "  --output FILE  HDF5 file to write (tracks.h5): tracks, a row for each slot of each event, and assignments, a "
    "row\n"
    "                 for each hit that is assigned to a slot\n"
    "  --batch N      events that are computed together (100)\n"
    "  --threads N    batches that are computed at the same time, with one thread each (1)\n"
    "  --help         show this text\n"
    "\n"
    "At the end: events/s of everything, median and 99th percentile of the time that the model takes for a batch.\n";

namespace {

int positive(std::string_view name, std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1)
    throw UsageError(std::string(name) + ": expected a number from 1, got '" + std::string(text) + "'");
  return value;
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  std::vector<std::string_view> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      options.help = true;
      return options;
    }
    if (!argument.starts_with("-")) {
      paths.push_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    if (name != "--output" && name != "--batch" && name != "--threads")
      throw UsageError(
          "there is no option " + std::string(name) + "; the options are --output, --batch, --threads, --help");
    if (equals == std::string_view::npos && i + 1 == argc) throw UsageError(std::string(name) + ": expected a value");
    const std::string_view value = equals == std::string_view::npos ? argv[++i] : argument.substr(equals + 1);
    if (name == "--output") options.output = value;
    else if (name == "--batch") options.batch = positive(name, value);
    else options.threads = positive(name, value);
  }
  if (paths.size() != 2)
    throw UsageError(
        "expected MODEL and DATASET, got " + std::to_string(paths.size()) + " paths; --help lists the options");
  options.model = paths[0];
  options.data_set = paths[1];
  return options;
}

}  // namespace hitpool
