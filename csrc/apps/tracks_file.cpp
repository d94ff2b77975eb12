#include "apps/tracks_file.h"

#include <cstring>

namespace hitpool {
namespace {

constexpr hsize_t kRowsOfChunk = 4096;
const char* const kCannotWrite = "cannot be written";

// Members one after the other, without gaps.
class Layout {
 public:
  void add(const std::string& name, hid_t type) {
    members_.emplace_back(name, type);
    size_ += H5Tget_size(type);
  }

  h5::Handle type() const {
    h5::Handle type(H5Tcreate(H5T_COMPOUND, size_), H5Tclose, kCannotWrite);
    size_t offset = 0;
    for (const auto& [name, member] : members_) {
      if (H5Tinsert(type, name.c_str(), offset, member) < 0) throw std::runtime_error("two columns are called " + name);
      offset += H5Tget_size(member);
    }
    return type;
  }

 private:
  std::vector<std::pair<std::string, hid_t>> members_;
  size_t size_ = 0;
};

// As h5py writes a bool.
h5::Handle bool_type() {
  h5::Handle type(H5Tenum_create(H5T_NATIVE_INT8), H5Tclose, kCannotWrite);
  const int8_t no = 0, yes = 1;
  H5Tenum_insert(type, "FALSE", &no);
  H5Tenum_insert(type, "TRUE", &yes);
  return type;
}

template <class T>
void put(std::vector<char>& rows, T value) {
  rows.resize(rows.size() + sizeof value);
  std::memcpy(rows.data() + rows.size() - sizeof value, &value, sizeof value);
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    result += letter;
  }
  return result + '"';
}

}  // namespace

TracksFile::TracksFile(const std::filesystem::path& path, const Model& model)
    : path_(path), partial_(path.string() + ".partial"), thresholds_(model.thresholds()) {
  const std::lock_guard guard(h5::lock());
  const std::string what = partial_.string() + ": " + kCannotWrite;
  file_ = {H5Fcreate(partial_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose, what};
  const h5::Handle boolean = bool_type();
  Layout tracks, assignments;
  tracks.add("event", H5T_NATIVE_INT64);
  tracks.add("slot", H5T_NATIVE_INT64);
  tracks.add("track_valid", boolean);
  tracks.add("track_valid_prob", H5T_NATIVE_FLOAT);
  for (const Field& field : model.fields()) tracks.add("track_" + field.name, H5T_NATIVE_FLOAT);
  tracks.add("track_num_hits", H5T_NATIVE_INT64);
  tracks_ = make_table("tracks", tracks.type());
  write_units(model.fields());
  for (const char* name : {"event", "slot", "hit"}) assignments.add(name, H5T_NATIVE_INT64);
  assignments.add("probability", H5T_NATIVE_FLOAT);
  assignments_ = make_table("assignments", assignments.type());
}

TracksFile::~TracksFile() {
  const std::lock_guard guard(h5::lock());
  tracks_ = {};
  assignments_ = {};
  file_ = {};
  std::error_code ignored;
  std::filesystem::remove(partial_, ignored);
}

TracksFile::Table TracksFile::make_table(const char* name, h5::Handle type) {
  const hsize_t none = 0, any = H5S_UNLIMITED;
  const h5::Handle space = h5::simple_space(1, &none, &any);
  const h5::Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, kCannotWrite);
  H5Pset_chunk(properties, 1, &kRowsOfChunk);
  h5::Handle data_set(
      H5Dcreate2(file_, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT), H5Dclose, kCannotWrite);
  return {std::move(type), std::move(data_set), 0};
}

void TracksFile::write(Table& table, const std::vector<char>& rows) {
  if (rows.empty()) return;
  const hsize_t start = table.rows, count = rows.size() / H5Tget_size(table.type);
  table.rows += count;
  const std::string what = partial_.string() + ": " + kCannotWrite;
  h5::checked(H5Dset_extent(table.data_set, &table.rows), what);
  const h5::Handle space(H5Dget_space(table.data_set), H5Sclose, what), memory = h5::simple_space(1, &count);
  h5::checked(H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, nullptr, &count, nullptr), what);
  h5::checked(H5Dwrite(table.data_set, table.type, memory, space, H5P_DEFAULT, rows.data()), what);
}

void TracksFile::write_units(const std::vector<Field>& fields) {
  std::string units;
  for (const Field& field : fields) {
    if (!field.unit.empty())
      units += (units.empty() ? "" : ", ") + quoted("track_" + field.name) + ": " + quoted(field.unit);
  }
  units = "{" + units + "}";
  const h5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose, kCannotWrite),
      space(H5Screate(H5S_SCALAR), H5Sclose, kCannotWrite);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  const h5::Handle attribute(
      H5Acreate2(tracks_.data_set, "units", type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, kCannotWrite);
  const char* const text = units.c_str();
  h5::checked(H5Awrite(attribute, type, &text), kCannotWrite);
}

void TracksFile::append(int64_t first, const Tracks& tracks) {
  const at::Tensor parameters = tracks.parameters.contiguous();                // [B, N, K]
  const at::Tensor track_probability = tracks.track_probability.contiguous();  // [B, N]
  const at::Tensor hit_probability = tracks.hit_probability.contiguous();      // [B, N, M]
  const int64_t events = parameters.size(0), slots = parameters.size(1), fields = parameters.size(2);
  const int64_t hits = hit_probability.size(2);
  const auto* parameter = parameters.const_data_ptr<float>();
  const auto* probability = track_probability.const_data_ptr<float>();
  const auto* of_hit = hit_probability.const_data_ptr<float>();
  const auto least_track = static_cast<float>(thresholds_.track), least_hit = static_cast<float>(thresholds_.hit);

  std::vector<char> rows, assigned;
  for (int64_t i = 0; i < events * slots; ++i) {
    const int64_t event = first + i / slots, slot = i % slots;
    int64_t num_hits = 0;
    for (int64_t m = 0; m < hits; ++m) {
      const float own = of_hit[i * hits + m];
      if (!(own >= least_hit)) continue;
      ++num_hits;
      put(assigned, event);
      put(assigned, slot);
      put(assigned, m);
      put(assigned, own);
    }
    put(rows, event);
    put(rows, slot);
    put<int8_t>(rows, probability[i] >= least_track);
    put(rows, probability[i]);
    for (int64_t k = 0; k < fields; ++k) put(rows, parameter[i * fields + k]);
    put(rows, num_hits);
  }
  const std::lock_guard guard(h5::lock());
  write(tracks_, rows);
  write(assignments_, assigned);
}

void TracksFile::finish() {
  const std::lock_guard guard(h5::lock());
  const std::string what = partial_.string() + ": " + kCannotWrite;
  h5::checked(H5Fflush(file_, H5F_SCOPE_GLOBAL), what);
  tracks_ = {};
  assignments_ = {};
  file_ = {};
  std::filesystem::rename(partial_, path_);
}

}  // namespace hitpool
