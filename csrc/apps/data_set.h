// A data set folder: metadata.yaml, the arrays that say where each event is, and HDF5 files of padded events.
#pragma once
#include <ATen/core/Tensor.h>
#include <hitpool/model.h>

#include <filesystem>
#include <string>
#include <vector>

#include "apps/hdf5.h"

namespace hitpool {

// Letters: B events, M most hits of one of them, C columns of the model.
struct Batch {
  int64_t first;     // number of the first event
  at::Tensor hits;   // [B, M, C] float32
  at::Tensor valid;  // [B, M] bool
};

class DataSet {
 public:
  // Throws std::runtime_error with one line if the data set lacks a column that the model uses, or is damaged.
  DataSet(const std::filesystem::path& folder, const std::vector<Column>& columns);

  int64_t size() const { return static_cast<int64_t>(file_of_.size()); }  // number of events

  // Events first .. first + count - 1; safe from several threads.
  Batch read(int64_t first, int64_t count);

 private:
  // The file that was read last.
  struct File {
    int64_t number = -1;
    h5::Handle file, hits;
    std::vector<int64_t> num_hits;  // of each row
    hsize_t most_hits = 0;          // of the array
  };

  void open(int64_t number);
  std::vector<float> read_rows(int64_t row, int64_t count, int64_t hits);  // [count, hits, columns of the data set]

  std::filesystem::path folder_;
  std::vector<std::string> files_;
  std::vector<int64_t> file_of_, row_of_;  // of each event
  int64_t width_ = 0;                      // columns of the data set
  std::vector<int64_t> source_;            // column of the data set for each one of the model, -1: none, not used
  File file_;
};

}  // namespace hitpool
