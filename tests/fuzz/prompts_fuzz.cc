// Any bytes as a JSON Lines file of prompts: refused, or rows that are all usable.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/strings.h"
#include "coordinator/data/dataset_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int file = memfd_create("prompts", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  HONE_CHECK(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == static_cast<ssize_t>(size));
  hone::v1::SourceSpec spec;
  spec.mutable_columns()->set_prompt("prompt");
  spec.mutable_columns()->set_answer("answer");
  spec.mutable_columns()->set_id("id");
  std::string sha256;
  const auto source = hone::coordinator::ReadPromptSource(spec, path, &sha256);
  if (!source.ok()) return 0;
  HONE_CHECK(!source->rows.empty() && sha256.size() == 64);
  for (const auto& row : source->rows) {
    HONE_CHECK(!row.prompt().empty() && hone::MendUtf8(row.prompt()) == row.prompt() && !row.id().empty());
  }
  return 0;
}
