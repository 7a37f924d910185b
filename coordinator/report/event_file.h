// TensorBoard event files: TFRecord frames (little-endian length, masked CRC-32C of it, data, masked CRC-32C of the
// data), each holding one tensorflow.Event, encoded by hand: a scalar needs five fields of three messages.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/status.h"
#include "coordinator/report/run_history.h"

namespace hone::coordinator {

// One TFRecord frame around `data`.
std::string TfRecordFrame(std::string_view data);

// Event { wall_time, step, summary { value { tag: prefix + name, simple_value } ... } }
std::string ScalarsEvent(double wall_time, int64_t step, const std::string& prefix, const MetricMap& scalars);

// An append-only event file. Each record reaches the operating system before Write returns. Not thread-safe.
class EventFileWriter {
 public:
  // Creates <folder>/events.out.tfevents.<seconds>.<host> (and the folder), beginning with the file version record.
  // `records`: events to begin with. The file appears under its name at once and whole.
  static absl::StatusOr<std::unique_ptr<EventFileWriter>> Create(const std::string& folder, absl::Time now,
                                                                 const std::vector<std::string>& events);
  absl::Status Write(std::string_view event);
  const std::string& path() const { return path_; }

 private:
  explicit EventFileWriter(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

// Appends `bytes` to the file at `path` (created if absent). On failure the file is cut back to what it was.
absl::Status AppendToFile(const std::string& path, std::string_view bytes);

}  // namespace hone::coordinator
