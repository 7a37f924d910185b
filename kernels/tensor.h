// Aligned memory for kernels.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <span>
#include <utility>

namespace hone::kernels {

// Memory for `bytes` at an address that is a multiple of 64, on pages of 2 MiB where it is large and the system has
// them. To be released by std::free. Throws std::bad_alloc.
void* AllocateAligned(size_t bytes);

// A 64-byte aligned array of trivially copyable T. Move-only. Contents are uninitialised after Resize that grows (NaN
// hunting is the tests' business: they poison). Not thread-safe.
template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size) { Resize(size); }
  ~AlignedBuffer() { std::free(data_); }
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  // Keeps the memory where it is large enough; contents are not preserved where it is not.
  void Resize(size_t size) {
    if (size > capacity_) {
      std::free(data_);
      data_ = nullptr;
      capacity_ = size_ = 0;
      data_ = static_cast<T*>(AllocateAligned(size * sizeof(T)));
      capacity_ = size;
    }
    size_ = size;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }  // elements that there is memory for
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  std::span<T> span() { return {data_, size_}; }
  std::span<const T> span() const { return {data_, size_}; }

 private:
  void swap(AlignedBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace hone::kernels
