#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/files.h"
#include "model/formats/safetensors.h"
#include "model/model.h"
#include "model/test_models.h"

namespace hone::model {
namespace {

using testing::HasSubstr;

std::vector<NamedConfig> Configs() { return TinyConfigs(16, 4, 2, 8, 24, 40, 12); }

// A folder that goes away with the test.
class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) { EXPECT_TRUE(RemoveTree(path_).ok()); }
  ~Folder() { EXPECT_TRUE(RemoveTree(path_).ok()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(ParametersTest, LayoutIsSortedDenseAndComplete) {
  for (const NamedConfig& named : Configs()) {
    const ParameterLayout layout(named.config);
    int64_t offset = 0;
    for (size_t i = 0; i < layout.entries().size(); ++i) {
      const ParameterInfo& entry = layout.entries()[i];
      if (i > 0) {
        EXPECT_LT(layout.entries()[i - 1].name, entry.name);
      }
      EXPECT_EQ(entry.offset, offset);
      offset += entry.size;
      EXPECT_EQ(layout.Find(entry.name), &entry);
      EXPECT_EQ(entry.decays, entry.name.ends_with("proj.weight") || entry.name.ends_with("embed_tokens.weight") ||
                                  entry.name == "lm_head.weight")
          << entry.name;
    }
    EXPECT_EQ(layout.total_size(), offset);
    EXPECT_EQ(layout.total_size(), named.config.parameter_count()) << named.name;
    EXPECT_EQ(layout.Find("model.layers.12.input_layernorm.weight"), nullptr);
    EXPECT_EQ(layout.Find("lm_head.weight") == nullptr, named.config.tied_embeddings);
  }
}

TEST(ParametersTest, RandomParametersArePinned) {
  for (const NamedConfig& named : Configs()) {
    const FlatTensor a = RandomParameters(named.config, 5), b = RandomParameters(named.config, 5);
    const FlatTensor other = RandomParameters(named.config, 6);
    EXPECT_EQ(RootHash(named.config, a), RootHash(named.config, b));
    EXPECT_NE(RootHash(named.config, a), RootHash(named.config, other));
    const ParameterLayout layout(named.config);
    double sum = 0.0, squares = 0.0;
    int64_t count = 0;
    for (const ParameterInfo& entry : layout.entries()) {
      for (int64_t i = 0; i < entry.size; ++i) {
        const double value = a[entry.offset + i];
        if (entry.shape.size() == 2) {
          sum += value;
          squares += value * value;
          ++count;
        } else {
          ASSERT_EQ(value, entry.name.ends_with(".bias") ? 0.0 : 1.0) << entry.name;
        }
      }
    }
    // Over 10,000 draws: the mean within 5 standard errors, the deviation within 5 %.
    EXPECT_NEAR(sum / count, 0.0, 5.0 * 0.02 / std::sqrt(static_cast<double>(count)));
    EXPECT_NEAR(std::sqrt(squares / count), 0.02, 0.001);
  }
  EXPECT_EQ(RootHash(Configs()[0].config, RandomParameters(Configs()[0].config, 5)),
            "3bf22cdec7a27bf107872cbc52d37a77d09f60f8b3ec765e6517dc91b0272d7e");
}

TEST(ParametersTest, RootHashIsTheDocumentedOne) {
  const ModelConfig config = TinyConfigs(4, 2, 1, 2, 6, 5, 1)[0].config;
  FlatTensor values(ParameterLayout(config).total_size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 8.0f - 3.0f;
  // Computed apart, with Python's hashlib and struct, from the definition in model.h.
  EXPECT_EQ(RootHash(config, values), "95a6583eb84242930b9be7044b6c99bf195c36c29d8b4120da5e0ecdffcd69bb");
  values[7] = -values[7];
  EXPECT_NE(RootHash(config, values), "95a6583eb84242930b9be7044b6c99bf195c36c29d8b4120da5e0ecdffcd69bb");
}

TEST(ParametersTest, SavedAndLoadedAgain) {
  const Folder folder("parameters_test_round_trip");
  for (const NamedConfig& named : Configs()) {
    SCOPED_TRACE(named.name);
    const FlatTensor masters = LivelyParameters(named.config, 31);
    // One file, then many shards over it, then one again.
    for (const int64_t shard_bytes : {int64_t{4} << 30, int64_t{20000}, int64_t{4} << 30}) {
      ASSERT_TRUE(SaveParameters(named.config, masters, kernels::DType::kF32, folder.path(), shard_bytes).ok());
      const auto config = LoadModelConfig(folder.path());
      ASSERT_TRUE(config.ok()) << config.status();
      const auto loaded = LoadParameters(*config, folder.path());
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      ASSERT_EQ(loaded->size(), masters.size());
      EXPECT_EQ(std::memcmp(loaded->data(), masters.data(), masters.size() * sizeof(float)), 0);
    }
    // bf16: what comes back is rounded, and rounding it again changes nothing.
    ASSERT_TRUE(SaveParameters(named.config, masters, kernels::DType::kBf16, folder.path()).ok());
    const auto rounded = LoadParameters(named.config, folder.path());
    ASSERT_TRUE(rounded.ok()) << rounded.status();
    for (size_t i = 0; i < masters.size(); ++i) {
      ASSERT_EQ((*rounded)[i], Bf16ToF32(F32ToBf16(masters[i])));
    }
    ASSERT_TRUE(SaveParameters(named.config, *rounded, kernels::DType::kBf16, folder.path()).ok());
    EXPECT_EQ(RootHash(named.config, LoadParameters(named.config, folder.path()).value()),
              RootHash(named.config, *rounded));
    ASSERT_TRUE(RemoveTree(folder.path()).ok());
  }
}

// Writes the model's tensors after `change` has had its way with the list.
template <typename Change>
absl::Status LoadChanged(const ModelConfig& config, const FlatTensor& masters, Change change) {
  const Folder folder("parameters_test_changed");
  EXPECT_TRUE(CreateDirectories(folder.path()).ok());
  struct Tensor {
    TensorSpec spec;
    std::vector<float> values;
  };
  std::vector<Tensor> tensors;
  for (const ParameterInfo& entry : ParameterLayout(config).entries()) {
    const float* begin = masters.data() + entry.offset;
    tensors.push_back({{entry.name, DType::kF32, entry.shape}, std::vector<float>(begin, begin + entry.size)});
  }
  change(&tensors);
  std::vector<TensorSpec> specs;
  for (const Tensor& tensor : tensors) specs.push_back(tensor.spec);
  auto writer = ShardedSafetensorsWriter::Create(folder.path(), specs);
  EXPECT_TRUE(writer.ok()) << writer.status();
  for (const Tensor& tensor : tensors) {
    EXPECT_TRUE((*writer)->AppendF32(tensor.spec.name, tensor.values.data(), tensor.values.size()).ok());
  }
  EXPECT_TRUE((*writer)->Finish().ok());
  return LoadParameters(config, folder.path()).status();
}

TEST(ParametersTest, WrongTensorsAreNamed) {
  const ModelConfig config = Configs()[0].config;
  const FlatTensor masters = LivelyParameters(config, 32);
  EXPECT_TRUE(LoadChanged(config, masters, [](auto*) {}).ok());

  absl::Status status = LoadChanged(config, masters, [](auto* tensors) { tensors->pop_back(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "parameters_test_changed: tensor model.norm.weight: missing: expected one of shape [16]");

  status = LoadChanged(config, masters, [](auto* tensors) {
    tensors->push_back({{"model.layers.12.extra", DType::kF32, {2}}, {1.0f, 2.0f}});
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "parameters_test_changed: tensor model.layers.12.extra: surplus: a model of this config.json has no such "
            "parameter");

  status = LoadChanged(config, masters, [](auto* tensors) { tensors->front().spec.shape = {20, 32}; });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.embed_tokens.weight"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("[40, 16]"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("[20, 32]"));

  // A configuration that claims 2^44 values: told from the file before memory is asked for.
  ModelConfig huge = config;
  huge.vocab_size = 1 << 24;
  huge.hidden_size = 1 << 20;
  {
    const Folder folder("parameters_test_huge");
    ASSERT_TRUE(SaveParameters(config, masters, kernels::DType::kF32, folder.path()).ok());
    status = LoadParameters(huge, folder.path()).status();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("[16777216, 1048576]"));

  EXPECT_EQ(LoadParameters(config, "no_such_folder").status().code(), absl::StatusCode::kNotFound);
}

TEST(ParametersTest, TensorsThatRepeatOthersAreAccepted) {
  const ModelConfig config = Configs()[0].config;
  const FlatTensor masters = LivelyParameters(config, 33);
  const auto add_head = [](float difference) {
    return [difference](auto* tensors) {
      auto head = tensors->front();
      head.spec.name = "lm_head.weight";
      head.values[3] += difference;
      tensors->push_back(head);
      tensors->push_back({{"model.layers.0.self_attn.rotary_emb.inv_freq", DType::kF32, {1}}, {1.0f}});
    };
  };
  EXPECT_TRUE(LoadChanged(config, masters, add_head(0.0f)).ok());
  const absl::Status status = LoadChanged(config, masters, add_head(1.0f));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("lm_head.weight: expected the values of model.embed_tokens.weight"));
}

}  // namespace
}  // namespace hone::model
