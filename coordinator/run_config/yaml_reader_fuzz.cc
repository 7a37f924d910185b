// Any text is either refused with a Status or read; what was read is written and read back to the same message, and
// resolving it neither crashes nor accepts what it cannot resolve again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "coordinator/run_config/overrides.h"
#include "coordinator/run_config/resolve.h"
#include "coordinator/run_config/yaml_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto spec = hone::ParseRunYaml(text, "fuzz.yaml");
  if (spec.ok()) {
    const std::string written = hone::ToYaml(*spec);
    const auto back = hone::ParseRunYaml(written, "written.yaml");
    if (!back.ok() || hone::ToYaml(*back) != written) std::abort();
    const auto resolved = hone::ResolveRunSpec(*spec);
    if (resolved.ok() && !hone::ResolveRunSpec(*resolved).ok()) std::abort();
  }
  hone::v1::RunSpec other;
  other.add_stages()->set_name("a");
  if (!hone::ApplyOverride(&other, text).ok() && (other.stages_size() != 1 || other.stages(0).name() != "a"))
    std::abort();
  return 0;
}
