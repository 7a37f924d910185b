#include "learner/checkpoint_writer.h"

#include <cstring>

#include "base/check.h"

namespace hone::learner {
namespace {

// The copy, or null where there is nothing to copy. Keeps the memory of the copy before.
const model::FlatTensor* CopyTo(const model::FlatTensor* from, model::FlatTensor* to) {
  if (from == nullptr) return nullptr;
  if (to->size() != from->size()) *to = model::FlatTensor(from->size());
  std::memcpy(to->data(), from->data(), from->size() * sizeof(float));
  return to;
}

const Moments* CopyTo(const Moments* from, Moments* to) {
  if (from == nullptr) return nullptr;
  to->CopyFrom(*from);
  return to;
}

}  // namespace

CheckpointWriter::~CheckpointWriter() {
  if (thread_.joinable()) thread_.join();
}

void CheckpointWriter::Begin(const CheckpointSource& source, const std::string& parent_directory) {
  HONE_CHECK(!pending()) << "a checkpoint is being written";
  copy_.state = *source.state;
  copy_.config = *source.config;
  copy_.files = *source.files;
  CheckpointSource copied = source;
  copied.state = &copy_.state;
  copied.config = &copy_.config;
  copied.files = &copy_.files;
  copied.masters = CopyTo(source.masters, &copy_.masters);
  copied.first_moment = CopyTo(source.first_moment, &copy_.first_moment);
  copied.second_moment = CopyTo(source.second_moment, &copy_.second_moment);
  copied.previous = CopyTo(source.previous, &copy_.previous);
  ended_ = false;
  thread_ = std::thread([this, copied, parent_directory] {
    result_ = WriteCheckpoint(copied, parent_directory);
    ended_ = true;
  });
}

absl::StatusOr<std::string> CheckpointWriter::Wait() {
  HONE_CHECK(pending()) << "no checkpoint is being written";
  thread_.join();
  ended_ = false;
  return std::move(result_);
}

}  // namespace hone::learner
