// HDF5 with handles that close themselves and errors that are exceptions.
#pragma once
#include <hdf5.h>

#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace hitpool::h5 {

// The library is not safe from several threads: every call holds this.
inline std::mutex& lock() {
  static std::mutex mutex;
  return mutex;
}

// Errors are exceptions; for the calling thread, since each may have its own setting.
inline void print_no_errors() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

template <class Status>
Status checked(Status status, const std::string& what) {
  if (status < 0) throw std::runtime_error(what);
  return status;
}

class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*close)(hid_t), const std::string& what) : id_(checked(id, what)), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor)

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

inline Handle simple_space(int rank, const hsize_t* sizes, const hsize_t* largest = nullptr) {
  return {H5Screate_simple(rank, sizes, largest), H5Sclose, "HDF5: no memory"};
}

}  // namespace hitpool::h5
