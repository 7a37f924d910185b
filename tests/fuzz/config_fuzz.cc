// Any two texts, parted by a zero byte, as config.json and generation_config.json: refused, or a configuration whose
// sizes can be computed.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const auto config = hone::model::ParseModelConfig(
      input.substr(0, end), end == std::string_view::npos ? std::string_view() : input.substr(end + 1));
  if (!config.ok()) return 0;
  HONE_CHECK(config->parameter_count() > 0);
  const auto again = hone::model::ParseModelConfig(hone::model::ModelConfigJson(*config, false), "");
  HONE_CHECK(again.ok()) << again.status().ToString();
  HONE_CHECK(again->parameter_count() == config->parameter_count());
  return 0;
}
