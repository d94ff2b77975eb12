// The HDF5 file that hitpool-infer writes: two tables, with the names of those of hitpool predict.
//
//   tracks       a row for each slot of each event: event, slot, track_valid, track_valid_prob, track_<parameter>,
//                track_num_hits; attribute units: JSON, unit by column
//   assignments  a row for each hit that is assigned to a slot: event, slot, hit (its number in the event), probability;
//                those of a row of tracks are its track_num_hits rows in the same order
#pragma once
#include <hitpool/model.h>

#include <filesystem>
#include <string>
#include <vector>

#include "apps/hdf5.h"

namespace hitpool {

class TracksFile {
 public:
  // Throws std::runtime_error with one line if it cannot be written.
  TracksFile(const std::filesystem::path& path, const Model& model);
  ~TracksFile();
  TracksFile(const TracksFile&) = delete;
  TracksFile& operator=(const TracksFile&) = delete;

  // Results of the events from `first`; in the order of the events.
  void append(int64_t first, const Tracks& tracks);

  // The file has its name only from here on.
  void finish();

 private:
  // A data set of a compound type that grows.
  struct Table {
    h5::Handle type, data_set;
    hsize_t rows = 0;
  };

  Table make_table(const char* name, h5::Handle type);
  void write(Table& table, const std::vector<char>& rows);
  void write_units(const std::vector<Field>& fields);

  std::filesystem::path path_, partial_;
  Thresholds thresholds_;
  h5::Handle file_;
  Table tracks_, assignments_;
};

}  // namespace hitpool
