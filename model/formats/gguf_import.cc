#include "model/formats/gguf_import.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/strings.h"
#include "model/formats/gguf.h"
#include "model/formats/gguf_tokenizer.h"
#include "model/formats/json.h"
#include "model/formats/safetensors.h"
#include "model/tokenizer/tokenizer.h"

namespace hone::model {
namespace {

using nlohmann::json;

// Fewer squared differences than this, relative to the squared weights, make two embeddings one that was quantised
// twice. Quantising to four bits costs about 0.006; unrelated matrices differ by about 2.
constexpr double kTiedDifference = 0.05;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxDimension = 1 << 24;

struct Architecture {
  std::string_view name;  // general.architecture, and model_type
  std::string_view class_name;
  bool query_key_norm;
  bool query_bias;   // biases on q, k and v
  bool interleaved;  // rows of q and k are stored for RoPE on neighbouring pairs
};
constexpr std::array<Architecture, 3> kArchitectures = {{{"llama", "LlamaForCausalLM", false, false, true},
                                                         {"qwen2", "Qwen2ForCausalLM", false, true, false},
                                                         {"qwen3", "Qwen3ForCausalLM", true, false, false}}};

// The shortest decimal that is the same fp32: 1e-06 where the file's fp32 is 9.99999997e-07.
double ShortestDecimal(double value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof(text) - 1, static_cast<float>(value)).ptr;
  *end = '\0';
  return std::strtod(text, nullptr);
}

// The `degree`-th root of a `value` above 0, by bisection: the library's pow differs from machine to machine.
double Root(double value, int64_t degree) {
  double low = std::min(1.0, value);
  double high = std::max(1.0, value);
  for (int step = 0; step < 100; ++step) {
    const double middle = low + (high - low) / 2;
    double power = 1.0;
    for (int64_t i = 0; i < degree; ++i) power *= middle;
    (power < value ? low : high) = middle;
  }
  return low;
}

class Importer {
 public:
  Importer(const GgufFile& file, DType dtype) : file_(file), dtype_(dtype) {}

  // Everything that can be refused is refused here.
  absl::Status Plan() {
    for (const GgufTensor& tensor : file_.tensors()) HONE_RETURN_IF_ERROR(file_.CheckReadable(tensor));
    HONE_RETURN_IF_ERROR(ReadArchitecture());
    HONE_RETURN_IF_ERROR(ReadRopeScaling());
    HONE_ASSIGN_OR_RETURN(tokenizer_, ConvertGgufTokenizer(file_, context_));
    // What will be written must be what Hone reads.
    auto read_back = Tokenizer::FromJson(tokenizer_.tokenizer_json, tokenizer_.tokenizer_config_json);
    if (!read_back.ok()) return Annotate(read_back.status(), file_.path());
    HONE_RETURN_IF_ERROR(PlanTensors());
    if (tokenizer_.token_count > vocabulary_) {
      return Error(absl::StrCat(tokenizer_.token_count, " tokens, but an embedding of ", vocabulary_, " rows"));
    }
    return absl::OkStatus();
  }

  // After Plan.
  absl::Status Write(const std::string& directory) const {
    HONE_RETURN_IF_ERROR(WriteTensors(directory));
    HONE_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(directory, "config.json"), DumpJson(Config()) + "\n"));
    HONE_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(directory, "generation_config.json"), DumpJson(TokenIds()) + "\n"));
    HONE_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(directory, "tokenizer.json"), tokenizer_.tokenizer_json));
    return WriteFileAtomic(JoinPath(directory, "tokenizer_config.json"), tokenizer_.tokenizer_config_json);
  }

 private:
  // One tensor to write: where it comes from and what is done to it.
  struct PlannedTensor {
    const GgufTensor* source;
    TensorSpec target;
    int64_t interleaved_heads = 0;  // > 0: rows of each head go from neighbouring pairs to two halves
  };

  absl::Status Error(std::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": ", ToAbsl(message)));
  }

  std::string Key(std::string_view suffix) const {
    return absl::StrCat(ToAbsl(architecture_->name), ".", ToAbsl(suffix));
  }

  absl::StatusOr<int64_t> Dimension(std::string_view suffix, int64_t limit = kMaxDimension) const {
    HONE_ASSIGN_OR_RETURN(const int64_t value, file_.GetInt(Key(suffix)));
    if (value < 1 || value > limit) return Error(absl::StrCat(Key(suffix), " is ", value, ", expected 1 to ", limit));
    return value;
  }

  absl::StatusOr<int64_t> DimensionOr(std::string_view suffix, int64_t fallback) const {
    if (!file_.Has(Key(suffix))) return fallback;
    return Dimension(suffix);
  }

  absl::Status ReadArchitecture() {
    HONE_ASSIGN_OR_RETURN(const std::string_view name, file_.GetString("general.architecture"));
    for (const Architecture& known : kArchitectures) {
      if (known.name == name) architecture_ = &known;
    }
    if (architecture_ == nullptr) {
      return Error(absl::StrCat("architecture '", ToAbsl(name.substr(0, 100)),
                                "' is not supported (llama, qwen2 and qwen3 are)"));
    }
    HONE_ASSIGN_OR_RETURN(layers_, Dimension("block_count", kMaxLayers));
    HONE_ASSIGN_OR_RETURN(hidden_, Dimension("embedding_length"));
    HONE_ASSIGN_OR_RETURN(ffn_, Dimension("feed_forward_length"));
    HONE_ASSIGN_OR_RETURN(heads_, Dimension("attention.head_count"));
    HONE_ASSIGN_OR_RETURN(kv_heads_, DimensionOr("attention.head_count_kv", heads_));
    HONE_ASSIGN_OR_RETURN(head_, DimensionOr("attention.key_length", hidden_ / heads_));
    HONE_ASSIGN_OR_RETURN(const int64_t value_length, DimensionOr("attention.value_length", head_));
    HONE_ASSIGN_OR_RETURN(const int64_t rotated, DimensionOr("rope.dimension_count", head_));
    HONE_ASSIGN_OR_RETURN(context_, Dimension("context_length", std::numeric_limits<int32_t>::max()));
    HONE_ASSIGN_OR_RETURN(const double epsilon, file_.GetFloat(Key("attention.layer_norm_rms_epsilon")));
    epsilon_ = ShortestDecimal(epsilon);
    if (file_.Has(Key("rope.freq_base"))) {
      HONE_ASSIGN_OR_RETURN(const double theta, file_.GetFloat(Key("rope.freq_base")));
      theta_ = ShortestDecimal(theta);
    }
    if (!(epsilon_ > 0) || !(theta_ > 0) || !std::isfinite(epsilon_) || !std::isfinite(theta_)) {
      return Error("the RMS-norm epsilon and the RoPE base must be above 0");
    }
    if (head_ < 2 || head_ % 2 != 0 || value_length != head_ || rotated != head_ || heads_ % kv_heads_ != 0) {
      return Error(absl::StrCat("unsupported attention: ", heads_, " heads, ", kv_heads_, " kv heads, keys of ", head_,
                                ", values of ", value_length, ", ", rotated, " rotated dimensions"));
    }
    for (const char* suffix : {"expert_count", "attention.sliding_window"}) {
      if (!file_.Has(Key(suffix))) continue;
      HONE_ASSIGN_OR_RETURN(const int64_t value, file_.GetInt(Key(suffix)));
      if (value != 0) return Error(absl::StrCat(Key(suffix), " = ", value, " is not supported"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadRopeScaling() {
    std::string_view type = "none";
    if (file_.Has(Key("rope.scaling.type"))) {
      HONE_ASSIGN_OR_RETURN(type, file_.GetString(Key("rope.scaling.type")));
    }
    if (file_.FindTensor("rope_freqs.weight") != nullptr) {
      if (type != "none") return Error("both rope_freqs.weight and rope.scaling.type are there");
      return ReadLlama3Scaling();
    }
    if (type == "none") return absl::OkStatus();
    if (type != "linear") {
      return Error(absl::StrCat(Key("rope.scaling.type"), " '", ToAbsl(type.substr(0, 100)),
                                "' is not supported (none, linear and Llama-3's rope_freqs.weight are)"));
    }
    HONE_ASSIGN_OR_RETURN(const double factor, file_.GetFloat(Key("rope.scaling.factor")));
    if (!(factor > 0) || !std::isfinite(factor)) return Error(absl::StrCat(Key("rope.scaling.factor"), " is ", factor));
    rope_scaling_ = {{"rope_type", "linear"}, {"factor", ShortestDecimal(factor)}};
    return absl::OkStatus();
  }

  // Llama 3.1 and 3.2 have their scaling as a table of divisors. The table is compared with those of the published
  // settings; one that equals none of them is refused.
  absl::Status ReadLlama3Scaling() {
    const GgufTensor* tensor = file_.FindTensor("rope_freqs.weight");
    if (tensor->element_count != head_ / 2) {
      return Error(
          absl::StrCat("tensor 'rope_freqs.weight': expected ", head_ / 2, " elements, found ", tensor->element_count));
    }
    std::vector<float> divisors(static_cast<size_t>(head_ / 2));
    HONE_RETURN_IF_ERROR(file_.ReadAsF32(*tensor, divisors.data()));
    constexpr double kLow = 1.0;
    constexpr double kHigh = 4.0;
    constexpr double kOriginalContext = 8192.0;
    const double ratio = Root(theta_, head_ / 2);  // of neighbouring wavelengths
    for (const double factor : {8.0, 32.0, 16.0}) {
      bool equal = true;
      double wavelength = 2.0 * std::numbers::pi;
      for (size_t i = 0; i < divisors.size(); ++i) {
        double expected = 1.0;
        if (wavelength > kOriginalContext / kLow) {
          expected = factor;
        } else if (wavelength >= kOriginalContext / kHigh) {
          const double smooth = (kOriginalContext / wavelength - kLow) / (kHigh - kLow);
          expected = 1.0 / ((1.0 - smooth) / factor + smooth);
        }
        equal &= std::abs(static_cast<double>(divisors[i]) - expected) <= 1e-4 * expected;  // written from fp32
        wavelength *= ratio;
      }
      if (!equal) continue;
      rope_scaling_ = {{"rope_type", "llama3"},
                       {"factor", factor},
                       {"low_freq_factor", kLow},
                       {"high_freq_factor", kHigh},
                       {"original_max_position_embeddings", 8192}};
      return absl::OkStatus();
    }
    return Error("tensor 'rope_freqs.weight' is not that of Llama 3.1 or 3.2");
  }

  absl::Status Take(std::string_view source, std::string_view target, std::vector<int64_t> shape,
                    int64_t interleaved_heads = 0) {
    const GgufTensor* tensor = file_.FindTensor(source);
    if (tensor == nullptr) return Error(absl::StrCat("tensor '", ToAbsl(source), "' is missing"));
    if (tensor->shape != shape) {
      return Error(absl::StrCat("tensor '", ToAbsl(source), "': expected shape ", ShapeString(shape), ", found ",
                                ShapeString(tensor->shape)));
    }
    taken_.insert(tensor->name);
    plans_.push_back({tensor, {std::string(target), dtype_, std::move(shape)}, interleaved_heads});
    return absl::OkStatus();
  }

  absl::Status PlanLayer(int64_t layer) {
    const std::string from = absl::StrCat("blk.", layer, ".");
    const std::string to = absl::StrCat("model.layers.", layer, ".");
    const int64_t queries = heads_ * head_;
    const int64_t keys = kv_heads_ * head_;
    const int64_t query_interleaved = architecture_->interleaved ? heads_ : 0;
    const int64_t key_interleaved = architecture_->interleaved ? kv_heads_ : 0;
    HONE_RETURN_IF_ERROR(Take(from + "attn_norm.weight", to + "input_layernorm.weight", {hidden_}));
    HONE_RETURN_IF_ERROR(
        Take(from + "attn_q.weight", to + "self_attn.q_proj.weight", {queries, hidden_}, query_interleaved));
    HONE_RETURN_IF_ERROR(
        Take(from + "attn_k.weight", to + "self_attn.k_proj.weight", {keys, hidden_}, key_interleaved));
    HONE_RETURN_IF_ERROR(Take(from + "attn_v.weight", to + "self_attn.v_proj.weight", {keys, hidden_}));
    if (architecture_->query_bias) {
      HONE_RETURN_IF_ERROR(Take(from + "attn_q.bias", to + "self_attn.q_proj.bias", {queries}));
      HONE_RETURN_IF_ERROR(Take(from + "attn_k.bias", to + "self_attn.k_proj.bias", {keys}));
      HONE_RETURN_IF_ERROR(Take(from + "attn_v.bias", to + "self_attn.v_proj.bias", {keys}));
    }
    if (architecture_->query_key_norm) {
      HONE_RETURN_IF_ERROR(Take(from + "attn_q_norm.weight", to + "self_attn.q_norm.weight", {head_}));
      HONE_RETURN_IF_ERROR(Take(from + "attn_k_norm.weight", to + "self_attn.k_norm.weight", {head_}));
    }
    HONE_RETURN_IF_ERROR(Take(from + "attn_output.weight", to + "self_attn.o_proj.weight", {hidden_, queries}));
    HONE_RETURN_IF_ERROR(Take(from + "ffn_norm.weight", to + "post_attention_layernorm.weight", {hidden_}));
    HONE_RETURN_IF_ERROR(Take(from + "ffn_gate.weight", to + "mlp.gate_proj.weight", {ffn_, hidden_}));
    HONE_RETURN_IF_ERROR(Take(from + "ffn_up.weight", to + "mlp.up_proj.weight", {ffn_, hidden_}));
    return Take(from + "ffn_down.weight", to + "mlp.down_proj.weight", {hidden_, ffn_});
  }

  // The embedding and, where the two are not one, the output matrix.
  absl::Status PlanEmbedding() {
    const GgufTensor* embedding = file_.FindTensor("token_embd.weight");
    if (embedding == nullptr || embedding->shape.size() != 2 || embedding->shape[1] != hidden_) {
      return Error(absl::StrCat("tensor 'token_embd.weight': expected a matrix with rows of ", hidden_));
    }
    vocabulary_ = embedding->shape[0];
    const GgufTensor* output = file_.FindTensor("output.weight");
    HONE_RETURN_IF_ERROR(Take("token_embd.weight", "model.embed_tokens.weight", {vocabulary_, hidden_}));
    if (output == nullptr) return absl::OkStatus();
    if (output->shape != embedding->shape)
      return Error("tensors 'output.weight' and 'token_embd.weight' differ in shape");
    std::vector<float> a(static_cast<size_t>(embedding->element_count));
    std::vector<float> b(a.size());
    HONE_RETURN_IF_ERROR(file_.ReadAsF32(*embedding, a.data()));
    HONE_RETURN_IF_ERROR(file_.ReadAsF32(*output, b.data()));
    double squares = 0;
    double differences = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
      squares += static_cast<double>(a[i]) * static_cast<double>(a[i]);
      differences += difference * difference;
    }
    tied_ = differences <= kTiedDifference * squares;
    taken_.insert("output.weight");
    if (tied_) {  // one matrix, stored twice: the finer copy is the better one
      if (output->bytes.size() > embedding->bytes.size()) plans_.back().source = output;
      return absl::OkStatus();
    }
    return Take("output.weight", "lm_head.weight", {vocabulary_, hidden_});
  }

  absl::Status PlanTensors() {
    HONE_RETURN_IF_ERROR(PlanEmbedding());
    for (int64_t layer = 0; layer < layers_; ++layer) HONE_RETURN_IF_ERROR(PlanLayer(layer));
    HONE_RETURN_IF_ERROR(Take("output_norm.weight", "model.norm.weight", {hidden_}));
    taken_.insert("rope_freqs.weight");
    for (const GgufTensor& tensor : file_.tensors()) {
      if (!taken_.contains(tensor.name)) {
        return Error(absl::StrCat("tensor '", tensor.name.substr(0, 200), "' has no place in a ",
                                  ToAbsl(architecture_->name), " model"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status WriteTensors(const std::string& directory) const {
    std::vector<TensorSpec> specs;
    for (const PlannedTensor& plan : plans_) specs.push_back(plan.target);
    HONE_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer,
                          SafetensorsWriter::Create(JoinPath(directory, "model.safetensors"), std::move(specs)));
    std::vector<float> values;
    std::vector<float> rows;
    for (const PlannedTensor& plan : plans_) {
      values.resize(static_cast<size_t>(plan.source->element_count));
      HONE_RETURN_IF_ERROR(file_.ReadAsF32(*plan.source, values.data()));
      if (plan.interleaved_heads > 0) {
        rows = values;
        SplitPairs(rows, plan.interleaved_heads, &values);
      }
      HONE_RETURN_IF_ERROR(writer->AppendF32(plan.target.name, values.data(), values.size()));
    }
    return writer->Finish();
  }

  // Row 2i + j of a head (pair i, element j) becomes row j * head / 2 + i: GGUF has llama's q and k for RoPE on
  // neighbouring pairs, Hugging Face for RoPE on two halves.
  void SplitPairs(const std::vector<float>& from, int64_t heads, std::vector<float>* to) const {
    const int64_t width = static_cast<int64_t>(from.size()) / (heads * head_);
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t row = 0; row < head_; ++row) {
        const int64_t target = h * head_ + (row % 2) * (head_ / 2) + row / 2;
        std::copy_n(from.begin() + (h * head_ + row) * width, width, to->begin() + target * width);
      }
    }
  }

  json TokenIds() const {
    json ids = json::object();
    if (tokenizer_.bos_id.has_value()) ids["bos_token_id"] = *tokenizer_.bos_id;
    if (tokenizer_.pad_id.has_value()) ids["pad_token_id"] = *tokenizer_.pad_id;
    if (tokenizer_.eos_ids.size() == 1) ids["eos_token_id"] = tokenizer_.eos_ids[0];
    if (tokenizer_.eos_ids.size() > 1) ids["eos_token_id"] = tokenizer_.eos_ids;
    return ids;
  }

  json Config() const {
    json config = TokenIds();
    config["architectures"] = {std::string(architecture_->class_name)};
    config["model_type"] = std::string(architecture_->name);
    config["hidden_size"] = hidden_;
    config["intermediate_size"] = ffn_;
    config["num_hidden_layers"] = layers_;
    config["num_attention_heads"] = heads_;
    config["num_key_value_heads"] = kv_heads_;
    config["head_dim"] = head_;
    config["vocab_size"] = vocabulary_;
    config["max_position_embeddings"] = context_;
    config["rms_norm_eps"] = epsilon_;
    config["rope_theta"] = theta_;
    config["rope_scaling"] = rope_scaling_;
    config["hidden_act"] = "silu";
    config["tie_word_embeddings"] = tied_;
    config["torch_dtype"] = dtype_ == DType::kBF16 ? "bfloat16" : "float32";
    if (!architecture_->query_bias) config["attention_bias"] = false;
    if (architecture_->name == "llama") config["mlp_bias"] = false;
    return config;
  }

  const GgufFile& file_;
  const DType dtype_;
  const Architecture* architecture_ = nullptr;
  int64_t layers_ = 0, hidden_ = 0, ffn_ = 0, heads_ = 0, kv_heads_ = 0, head_ = 0, context_ = 0, vocabulary_ = 0;
  double epsilon_ = 0;
  double theta_ = 10000.0;
  json rope_scaling_;  // null for none
  bool tied_ = true;
  GgufTokenizer tokenizer_;
  std::vector<PlannedTensor> plans_;
  std::set<std::string> taken_;
};

}  // namespace

absl::Status ImportGguf(const std::string& gguf_path, const std::string& out_dir, DType dtype) {
  if (dtype != DType::kBF16 && dtype != DType::kF32) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot import as ", ToAbsl(DTypeName(dtype)), "; BF16 and F32 can be"));
  }
  std::string target = out_dir;
  while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  if (FileExists(target)) {
    HONE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(target));
    if (!names.empty()) return absl::AlreadyExistsError(absl::StrCat(target, ": the folder exists and is not empty"));
  }
  HONE_ASSIGN_OR_RETURN(const std::unique_ptr<GgufFile> file, GgufFile::Open(gguf_path));
  Importer importer(*file, dtype);
  HONE_RETURN_IF_ERROR(importer.Plan());
  const std::string temporary = target + ".importing";
  HONE_RETURN_IF_ERROR(RemoveTree(temporary));  // of an import that was killed
  HONE_RETURN_IF_ERROR(CreateDirectories(temporary));
  absl::Status status = importer.Write(temporary);
  if (status.ok()) status = SyncPath(temporary);
  if (status.ok()) status = RenamePath(temporary, target);
  if (!status.ok()) {
    const absl::Status removed = RemoveTree(temporary);
    if (!removed.ok()) return Annotate(status, absl::StrCat("(and ", temporary, " could not be removed)"));
  }
  return status;
}

}  // namespace hone::model
