#include "apps/data_set.h"

#include <ATen/ops/zeros.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "apps/npy.h"

namespace hitpool {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw std::runtime_error(path.string() + ": " + what);
}

YAML::Node load_yaml(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) fail(path.parent_path(), "is no data set, it has no metadata.yaml");
  try {
    return YAML::LoadFile(path.string());
  } catch (const YAML::Exception& error) {
    fail(path, error.what());
  }
}

// For each column of the model its position among those of the data set.
std::vector<int64_t> positions(
    const std::vector<Column>& columns, const std::vector<std::string>& present, const std::filesystem::path& path) {
  std::vector<int64_t> result;
  std::string missing, all;
  for (const Column& column : columns) {
    const auto found = std::find(present.begin(), present.end(), column.name);
    result.push_back(found == present.end() ? -1 : found - present.begin());
    if (found == present.end() && column.used) missing += (missing.empty() ? "" : ", ") + column.name;
  }
  for (const std::string& name : present) all += (all.empty() ? "" : ", ") + name;
  if (!missing.empty()) fail(path, "hit_features lacks what the model uses: " + missing + "; it has " + all);
  return result;
}

std::vector<hsize_t> shape_of(hid_t data_set) {
  const h5::Handle space(H5Dget_space(data_set), H5Sclose, "cannot be read");
  std::vector<hsize_t> shape(h5::checked(H5Sget_simple_extent_ndims(space), "cannot be read"));
  H5Sget_simple_extent_dims(space, shape.data(), nullptr);
  return shape;
}

h5::Handle open_data_set(hid_t file, const std::string& name, size_t rank) {
  h5::Handle data_set(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, "has no data set '" + name + "'");
  if (shape_of(data_set).size() != rank)
    throw std::runtime_error("'" + name + "' does not have " + std::to_string(rank) + " dimensions");
  return data_set;
}

}  // namespace

DataSet::DataSet(const std::filesystem::path& folder, const std::vector<Column>& columns) : folder_(folder) {
  if (!std::filesystem::is_directory(folder)) fail(folder, "there is no such folder");
  const auto path = folder / "metadata.yaml";
  const YAML::Node metadata = load_yaml(path);
  std::vector<std::string> present;
  try {
    present = metadata["hit_features"].as<std::vector<std::string>>();
    for (const YAML::Node& chunk : metadata["event_mapping"]["chunk_summary"])
      files_.push_back(chunk["h5_file"].as<std::string>());
  } catch (const YAML::Exception&) {
    fail(path, "expected hit_features and event_mapping.chunk_summary with h5_file");
  }
  width_ = static_cast<int64_t>(present.size());
  source_ = positions(columns, present, path);
  file_of_ = read_npy(folder / "event_file_indices.npy");
  row_of_ = read_npy(folder / "event_row_indices.npy");
  if (file_of_.size() != row_of_.size()) fail(folder, "its two index arrays differ in length");
  for (const int64_t file : file_of_) {
    if (file < 0 || file >= static_cast<int64_t>(files_.size())) fail(folder, "event_file_indices.npy names no file");
  }
}

void DataSet::open(int64_t number) {
  if (file_.number == number) return;
  const auto path = folder_ / files_[number];
  if (!std::filesystem::is_regular_file(path)) fail(path, "there is no such file");
  try {
    File next;
    next.number = number;
    next.file = {H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, "is not readable as HDF5"};
    next.hits = open_data_set(next.file, "hits", 3);
    const h5::Handle counts = open_data_set(next.file, "num_hits", 1);
    const auto shape = shape_of(next.hits);  // [rows, most hits, columns]
    next.num_hits.resize(shape_of(counts)[0]);
    h5::checked(
        H5Dread(counts, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, next.num_hits.data()),
        "'num_hits' cannot be read");
    if (shape[2] != static_cast<hsize_t>(width_))
      throw std::runtime_error("'hits' has another number of columns than hit_features in metadata.yaml");
    if (shape[0] != next.num_hits.size()) throw std::runtime_error("'hits' and 'num_hits' differ in length");
    next.most_hits = shape[1];
    file_ = std::move(next);
  } catch (const std::exception& error) {
    fail(path, error.what());
  }
}

std::vector<float> DataSet::read_rows(int64_t row, int64_t count, int64_t hits) {
  const hsize_t start[] = {static_cast<hsize_t>(row), 0, 0};
  const hsize_t size[] = {static_cast<hsize_t>(count), static_cast<hsize_t>(hits), static_cast<hsize_t>(width_)};
  std::vector<float> values(size[0] * size[1] * size[2]);
  if (values.empty()) return values;
  const std::string what = (folder_ / files_[file_.number]).string() + ": 'hits' cannot be read, the file is damaged";
  const h5::Handle space(H5Dget_space(file_.hits), H5Sclose, what), memory = h5::simple_space(3, size);
  h5::checked(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, size, nullptr), what);
  h5::checked(H5Dread(file_.hits, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values.data()), what);
  return values;
}

Batch DataSet::read(int64_t first, int64_t count) {
  struct Run {  // events that lie one after the other in a file
    int64_t event, count, hits;
    std::vector<float> values;  // [count, hits, width]
  };
  std::vector<Run> runs;
  std::vector<int64_t> num_hits(count);
  {
    const std::lock_guard guard(h5::lock());
    for (int64_t event = first; event < first + count; event += runs.back().count) {
      open(file_of_[event]);
      int64_t length = 0, most = 0;
      for (; event + length < first + count; ++length) {
        const int64_t next = event + length, row = row_of_[next];
        if (file_of_[next] != file_.number || row != row_of_[event] + length) break;
        if (row < 0 || row >= static_cast<int64_t>(file_.num_hits.size()))
          fail(folder_ / files_[file_.number], "has no row " + std::to_string(row));
        num_hits[next - first] = file_.num_hits[row];
        if (file_.num_hits[row] < 0 || file_.num_hits[row] > static_cast<int64_t>(file_.most_hits))
          fail(folder_ / files_[file_.number], "'num_hits' of row " + std::to_string(row) + " does not fit 'hits'");
        most = std::max(most, file_.num_hits[row]);
      }
      runs.push_back({event, length, most, read_rows(row_of_[event], length, most)});
    }
  }

  const int64_t most = *std::max_element(num_hits.begin(), num_hits.end());
  const auto columns = static_cast<int64_t>(source_.size());
  Batch batch{first, at::zeros({count, most, columns}), at::zeros({count, most}, at::kBool)};
  float* hits = batch.hits.mutable_data_ptr<float>();
  bool* valid = batch.valid.mutable_data_ptr<bool>();
  for (const Run& run : runs) {
    for (int64_t i = 0; i < run.count; ++i) {
      const int64_t b = run.event + i - first;
      for (int64_t m = 0; m < num_hits[b]; ++m) {
        const float* from = run.values.data() + (i * run.hits + m) * width_;
        float* to = hits + (b * most + m) * columns;
        for (int64_t c = 0; c < columns; ++c) to[c] = source_[c] < 0 ? 0 : from[source_[c]];
        valid[b * most + m] = true;
      }
    }
  }
  return batch;
}

}  // namespace hitpool
