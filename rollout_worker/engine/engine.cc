#include "rollout_worker/engine/engine.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "model/model.h"
#include "rollout_worker/engine/scheduler.h"
#include "rollout_worker/engine/stop_condition.h"

namespace hone::engine {
namespace {

using model::Chunk;
using model::KvCache;

constexpr int64_t kLogitsTileFloats = int64_t{4} << 20;  // 16 MiB of logits at once: half of a large L3

struct Sequence {
  std::vector<int32_t> tokens;    // prompt and completion
  std::vector<float> logprobs;    // of the completion
  std::vector<uint8_t> forced;    // of the completion, where thinking is controlled; else empty
  std::vector<TokenLogProb> top;  // of the completion, Group::top_logprobs for each token
  bool finished = false;
  FinishReason finish = FinishReason::kLength;
  std::optional<StopStringFinder> stop_strings;
  std::optional<LogitEditor> editor;
  std::optional<ThinkingState> thinking;
};

struct Group {
  uint64_t stream = 0;
  uint64_t key = 0;
  size_t prompt_tokens = 0;
  kernels::SamplingParams sampling;
  int max_new_tokens = 0;
  int min_new_tokens = 0;
  std::vector<int32_t> stop_token_ids;
  std::vector<std::string> stop_strings;
  int top_logprobs = 0;
  LogitControls logits;
  std::optional<ThinkingPlan> thinking;
  std::vector<uint8_t> banned;  // [V] while min_new_tokens is not reached; empty where that is 0
  std::vector<Sequence> sequences;
  int unfinished = 0;

  size_t CompletionTokens(const Sequence& sequence) const { return sequence.tokens.size() - prompt_tokens; }
  // Log-probs are those of the distribution sampled from, before filters; greedy has none of its own: temperature 1.
  float LogProbTemperature() const { return sampling.temperature > 0 ? sampling.temperature : 1.0f; }
};

// One token to be drawn from row `row` of the step's outputs.
struct Draw {
  Group* group = nullptr;
  int64_t handle = 0;
  int32_t sample = 0;
  int64_t row = 0;
};

absl::Status Refuse(const char* field, const std::string& expected, const std::string& actual) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected ", expected, ", got ", actual));
}

absl::Status CheckTokens(const char* field, const std::vector<int32_t>& tokens, int32_t vocab) {
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocab) {
      return Refuse(field, absl::StrCat("token ids in [0, ", vocab, ")"), absl::StrCat(token));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPrompt(const std::vector<int32_t>& prompt, const model::ModelConfig& config) {
  if (prompt.empty()) return Refuse("prompt", "at least one token", "none");
  if (static_cast<int64_t>(prompt.size()) >= config.max_positions) {
    return Refuse("prompt", absl::StrCat("fewer tokens than the model's context of ", config.max_positions),
                  absl::StrCat(prompt.size()));
  }
  return CheckTokens("prompt", prompt, config.vocab_size);
}

int64_t LogitsTileRows(int64_t vocab) { return std::max<int64_t>(1, kLogitsTileFloats / vocab); }

}  // namespace

struct Engine::Impl {
  Impl(const kernels::KernelContext& context, const model::ComputeWeights& w, const model::Tokenizer* t,
       const Scheduler::Options& scheduling)
      : ctx(context),
        weights(w),
        tokenizer(t),
        scheduler(scheduling),
        cache(w.config(), w.dtype(), scheduling.page_tokens, scheduling.page_count),
        model(context, w) {}

  void GatherWork(const StepPlan& plan);
  void DrawTokens();
  void DrawTile(std::span<const Draw> tile, int64_t first_row);
  int32_t DrawToken(const Draw& draw, const float* row) const;
  void LogProbs(std::span<const Draw> tile, int64_t first_row);
  void TopLogProbs(std::span<const Draw> tile, int64_t first_row);
  bool Accept(const Draw& draw, int32_t token, float logprob);
  void AppendToken(const Group& group, Sequence* sequence, int32_t token, float logprob, bool forced);
  void RemoveTokens(const Group& group, Sequence* sequence, int count);
  std::optional<FinishReason> EndsWith(const Group& group, int32_t token) const;
  GroupResult TakeResult(int64_t handle);
  void ScoreRows(int64_t rows, const int32_t* targets, float temperature, int top_logprobs, TokenScores* scores);

  const kernels::KernelContext& ctx;
  const model::ComputeWeights& weights;
  const model::Tokenizer* tokenizer;
  Scheduler scheduler;
  KvCache cache;
  model::InferenceModel model;
  std::map<int64_t, Group> groups;  // by handle
  Stats stats;

  // Of one step, kept so that a step allocates nothing once they have grown.
  std::vector<Chunk> chunks;
  std::vector<int64_t> output_rows;
  std::vector<Draw> draws;
  std::vector<int64_t> finished;
  kernels::AlignedBuffer<float> hidden;  // [rows, D]
  kernels::AlignedBuffer<float> logits;  // [tile rows, V]
  std::vector<int32_t> tokens;           // of one tile's draws
  std::vector<float> logprobs;
};

int64_t Engine::KvPageCount(const model::ModelConfig& config, kernels::DType dtype, const Options& options) {
  const int64_t affordable =
      options.kv_cache_bytes / static_cast<int64_t>(KvCache::BytesPerPage(config, dtype, options.page_tokens));
  // Full contexts for the whole batch, a partial prompt page for each, and as much again as the scheduler computes
  // ahead.
  const int64_t context_pages = (int64_t{config.max_positions} + options.page_tokens - 1) / options.page_tokens + 1;
  const int64_t useful = context_pages * options.max_batch_sequences * 5 / 4 + 1;
  return std::min<int64_t>({affordable, useful, 1 << 24});
}

int64_t Engine::LogitsBytes(const model::ModelConfig& config) {
  return LogitsTileRows(config.vocab_size) * config.vocab_size * static_cast<int64_t>(sizeof(float));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const kernels::KernelContext& ctx,
                                                       const model::ComputeWeights& weights,
                                                       const model::Tokenizer* tokenizer, const Options& options) {
  if (options.page_tokens <= 0 || options.page_tokens % kernels::kBlockTokens != 0) {
    return Refuse("page_tokens", absl::StrCat("a positive multiple of ", kernels::kBlockTokens),
                  absl::StrCat(options.page_tokens));
  }
  if (options.max_batch_sequences <= 0)
    return Refuse("max_batch_sequences", "1 or more", absl::StrCat(options.max_batch_sequences));
  const Scheduler::Options scheduling = {
      .page_tokens = options.page_tokens,
      .page_count = static_cast<int>(KvPageCount(weights.config(), weights.dtype(), options)),
      .max_batch_sequences = options.max_batch_sequences,
      .max_batch_tokens = std::max(options.max_batch_tokens, options.max_batch_sequences)};
  if (scheduling.page_count < 2) {
    return absl::ResourceExhaustedError(
        absl::StrCat("kv_cache_bytes: ", options.kv_cache_bytes, " bytes hold ", scheduling.page_count, " pages of ",
                     KvCache::BytesPerPage(weights.config(), weights.dtype(), options.page_tokens),
                     " bytes; at least 2 are needed"));
  }
  HONE_RETURN_IF_ERROR(Scheduler::Validate(scheduling));
  return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(ctx, weights, tokenizer, scheduling)));
}

bool Engine::idle() const { return impl_->scheduler.idle(); }
const model::ModelConfig& Engine::config() const { return impl_->weights.config(); }

Engine::Stats Engine::stats() const {
  Stats stats = impl_->stats;
  stats.preemptions = impl_->scheduler.preemptions();
  stats.running_sequences = impl_->scheduler.running();
  stats.kv_use = static_cast<double>(impl_->scheduler.pages_used()) / impl_->scheduler.options().page_count;
  return stats;
}

absl::StatusOr<int64_t> Engine::SubmitGroup(GroupRequest request) {
  const model::ModelConfig& config = this->config();
  HONE_RETURN_IF_ERROR(CheckSettings(request));
  HONE_RETURN_IF_ERROR(CheckPrompt(request.prompt, config));
  HONE_RETURN_IF_ERROR(CheckTokens("stop_token_ids", request.stop_token_ids, config.vocab_size));
  for (const auto& [token, bias] : request.logits.bias) {
    HONE_RETURN_IF_ERROR(CheckTokens("logit_bias.token_id", {token}, config.vocab_size));
  }
  if (impl_->tokenizer == nullptr && (!request.stop_strings.empty() || request.thinking.any())) {
    return absl::FailedPreconditionError("stop strings and thinking controls need a tokenizer");
  }
  Group group;
  if (request.thinking.any()) {
    HONE_ASSIGN_OR_RETURN(group.thinking, ThinkingPlan::Make(request.thinking, impl_->tokenizer));
    HONE_RETURN_IF_ERROR(CheckTokens("thinking.switch_words", group.thinking->switch_tokens(), config.vocab_size));
    HONE_RETURN_IF_ERROR(CheckTokens("thinking", group.thinking->ForcedTokens(), config.vocab_size));
  }
  group.stream = request.stream;
  group.key = request.key;
  group.prompt_tokens = request.prompt.size();
  group.sampling = request.sampling;
  group.max_new_tokens =
      std::min(request.max_new_tokens, config.max_positions - static_cast<int>(request.prompt.size()));
  group.min_new_tokens = request.min_new_tokens;
  if (group.min_new_tokens > 0) {
    group.banned.assign(static_cast<size_t>(config.vocab_size), 0);
    for (const int32_t token : request.stop_token_ids) group.banned[static_cast<size_t>(token)] = 1;
    for (const int32_t token : config.eos_token_ids) {
      if (token >= 0 && token < config.vocab_size) group.banned[static_cast<size_t>(token)] = 1;
    }
    if (std::find(group.banned.begin(), group.banned.end(), 0) == group.banned.end()) {
      return Refuse("min_new_tokens", "a token that does not end the completion", "a vocabulary of stop tokens only");
    }
  }
  group.stop_token_ids = std::move(request.stop_token_ids);
  group.stop_strings = std::move(request.stop_strings);
  group.top_logprobs = std::min(request.top_logprobs, config.vocab_size);
  group.logits = std::move(request.logits);
  group.unfinished = request.samples;
  group.sequences.resize(static_cast<size_t>(request.samples));
  HONE_ASSIGN_OR_RETURN(const int64_t handle, impl_->scheduler.AddGroup(static_cast<int>(group.prompt_tokens),
                                                                        request.samples, group.max_new_tokens));
  // Where it stays: its sequences refer to it.
  Group& placed = impl_->groups.emplace(handle, std::move(group)).first->second;
  for (Sequence& sequence : placed.sequences) {
    sequence.tokens.reserve(placed.prompt_tokens + static_cast<size_t>(placed.max_new_tokens));
    sequence.tokens = request.prompt;
    sequence.logprobs.reserve(static_cast<size_t>(std::min(placed.max_new_tokens, 1024)));
    if (!placed.stop_strings.empty()) sequence.stop_strings.emplace(impl_->tokenizer, placed.stop_strings);
    if (placed.logits.any()) sequence.editor.emplace(&placed.logits, request.prompt);
    if (placed.thinking.has_value()) sequence.thinking.emplace(&*placed.thinking, request.prompt_opens_thinking);
  }
  return handle;
}

int64_t Engine::CacheBytesNeeded(int prompt_tokens, int max_new_tokens) const {
  const int new_tokens = std::min(max_new_tokens, config().max_positions - prompt_tokens);
  return impl_->scheduler.PagesNeeded(prompt_tokens, new_tokens) *
         static_cast<int64_t>(KvCache::BytesPerPage(config(), impl_->weights.dtype(), impl_->cache.page_tokens()));
}

PartialCompletion Engine::Partial(int64_t handle, int sample) const {
  const Group& group = impl_->groups.at(handle);
  const Sequence& sequence = group.sequences.at(static_cast<size_t>(sample));
  const bool open = !sequence.finished && sequence.thinking.has_value();
  const size_t revocable = open ? static_cast<size_t>(sequence.thinking->Revocable()) : 0;
  const size_t count = group.CompletionTokens(sequence) - revocable;
  return {.tokens = std::span(sequence.tokens).subspan(group.prompt_tokens, count),
          .logprobs = std::span(sequence.logprobs).first(count),
          .forced = std::span(sequence.forced).first(sequence.forced.empty() ? 0 : count),
          .top = std::span(sequence.top).first(count * static_cast<size_t>(group.top_logprobs)),
          .finished = sequence.finished,
          .finish = sequence.finish};
}

void Engine::Cancel(int64_t handle) {
  impl_->scheduler.Cancel(handle);
  impl_->groups.erase(handle);
}

std::vector<GroupResult> Engine::Step() {
  const StepPlan& plan = impl_->scheduler.Plan();
  std::vector<GroupResult> results;
  if (plan.chunks.empty()) return results;
  for (const PageCopy& copy : plan.copies) impl_->cache.CopyPage(copy.from, copy.to);
  impl_->GatherWork(plan);
  impl_->hidden.Resize(impl_->output_rows.size() * static_cast<size_t>(config().hidden_size));
  impl_->model.Forward(impl_->chunks, impl_->output_rows, &impl_->cache, impl_->hidden.data());
  impl_->finished.clear();
  impl_->DrawTokens();
  ++impl_->stats.steps;
  std::sort(impl_->finished.begin(), impl_->finished.end());
  for (const int64_t handle : impl_->finished) results.push_back(impl_->TakeResult(handle));
  return results;
}

// The plan as chunks of tokens, rows to be drawn from, and the draws themselves (by rising row).
void Engine::Impl::GatherWork(const StepPlan& plan) {
  chunks.clear();
  output_rows.clear();
  draws.clear();
  int64_t row = 0;
  for (const PlannedChunk& planned : plan.chunks) {
    Group& group = groups.at(planned.group);
    const bool prompt = planned.sample == kPromptSample;
    const Sequence& sequence = group.sequences[prompt ? 0 : static_cast<size_t>(planned.sample)];
    chunks.push_back({.tokens = {sequence.tokens.data() + planned.position, static_cast<size_t>(planned.count)},
                      .position = planned.position,
                      .pages = planned.pages});
    row += planned.count;
    if (prompt) stats.prefill_tokens += planned.count;
    if (!planned.samples_next) continue;
    const int32_t begin = prompt ? 0 : planned.sample;
    const int32_t end = prompt ? static_cast<int32_t>(group.sequences.size()) : planned.sample + 1;
    for (int32_t sample = begin; sample < end; ++sample) {
      draws.push_back({&group, planned.group, sample, static_cast<int64_t>(output_rows.size())});
    }
    output_rows.push_back(row - 1);
  }
}

void Engine::Impl::DrawTokens() {
  const int64_t rows = static_cast<int64_t>(output_rows.size());
  const int64_t vocab = weights.config().vocab_size;
  const int64_t tile_rows = LogitsTileRows(vocab);
  size_t next = 0;
  for (int64_t first = 0; first < rows; first += tile_rows) {
    const int64_t count = std::min(tile_rows, rows - first);
    logits.Resize(static_cast<size_t>(count * vocab));
    model.Logits(hidden.data() + first * weights.config().hidden_size, count, logits.data());
    const size_t begin = next;
    while (next < draws.size() && draws[next].row < first + count) ++next;
    DrawTile(std::span(draws).subspan(begin, next - begin), first);
  }
}

void Engine::Impl::DrawTile(std::span<const Draw> tile, int64_t first_row) {
  const int64_t vocab = weights.config().vocab_size;
  tokens.resize(tile.size());
  logprobs.resize(tile.size());
  // About 32 K logits for each thread's turn: below that, handing work over costs more than it saves.
  const int64_t grain = std::max<int64_t>(1, (32 << 10) / vocab);
  ctx.pool().ParallelFor(static_cast<int64_t>(tile.size()), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Draw& draw = tile[static_cast<size_t>(i)];
      tokens[static_cast<size_t>(i)] = DrawToken(draw, logits.data() + (draw.row - first_row) * vocab);
    }
  });
  LogProbs(tile, first_row);
  TopLogProbs(tile, first_row);
  for (size_t i = 0; i < tile.size(); ++i) {
    if (!Accept(tile[i], tokens[i], logprobs[i])) continue;
    if (--tile[i].group->unfinished == 0) finished.push_back(tile[i].handle);
  }
}

int32_t Engine::Impl::DrawToken(const Draw& draw, const float* row) const {
  const int64_t vocab = weights.config().vocab_size;
  const Group& group = *draw.group;
  const Sequence& sequence = group.sequences[static_cast<size_t>(draw.sample)];
  const size_t position = group.CompletionTokens(sequence);
  const double uniform = kernels::SamplingUniform(group.key, group.stream, static_cast<uint32_t>(draw.sample),
                                                  static_cast<uint32_t>(position));
  const bool ban = static_cast<int64_t>(position) < group.min_new_tokens;
  const bool penalizes = sequence.thinking.has_value() && sequence.thinking->PenalizesSwitches();
  if (sequence.editor.has_value() || penalizes) {
    // A copy: other samples may draw from the same row, and log-probs are those of the row as it is.
    thread_local std::vector<float> edited;
    edited.assign(row, row + vocab);
    if (sequence.editor.has_value()) sequence.editor->Edit(edited);
    if (penalizes) {
      for (const int32_t token : group.thinking->switch_tokens()) {
        edited[static_cast<size_t>(token)] -= group.thinking->controls().switch_penalty;
      }
    }
    row = edited.data();
  }
  return kernels::Sample(row, vocab, group.sampling, uniform, ban ? group.banned.data() : nullptr);
}

// One call for each run of draws at one temperature whose rows follow each other, or (first tokens of a group) are one
// row.
void Engine::Impl::LogProbs(std::span<const Draw> tile, int64_t first_row) {
  const int64_t vocab = weights.config().vocab_size;
  for (size_t begin = 0; begin < tile.size();) {
    const float temperature = tile[begin].group->LogProbTemperature();
    const int64_t stride = begin + 1 < tile.size() ? tile[begin + 1].row - tile[begin].row : 1;
    size_t end = begin + 1;
    while (end < tile.size() && tile[end].row - tile[end - 1].row == stride &&
           tile[end].group->LogProbTemperature() == temperature) {
      ++end;
    }
    kernels::LogProb(ctx, logits.data() + (tile[begin].row - first_row) * vocab, stride * vocab,
                     static_cast<int64_t>(end - begin), vocab, temperature, tokens.data() + begin,
                     logprobs.data() + begin, nullptr, nullptr);
    begin = end;
  }
}

void Engine::Impl::TopLogProbs(std::span<const Draw> tile, int64_t first_row) {
  const int64_t vocab = weights.config().vocab_size;
  for (const Draw& draw : tile) {
    const Group& group = *draw.group;
    if (group.top_logprobs == 0) continue;
    std::vector<TokenLogProb>& top = draw.group->sequences[static_cast<size_t>(draw.sample)].top;
    top.resize(top.size() + static_cast<size_t>(group.top_logprobs));
    TopTokens(ctx, logits.data() + (draw.row - first_row) * vocab, vocab, group.LogProbTemperature(),
              std::span(top).last(static_cast<size_t>(group.top_logprobs)));
  }
}

// Takes the token into its sequence, and does what the controls make of it; true where the sequence ended.
bool Engine::Impl::Accept(const Draw& draw, int32_t token, float logprob) {
  Group& group = *draw.group;
  Sequence& sequence = group.sequences[static_cast<size_t>(draw.sample)];
  ++stats.sampled_tokens;
  AppendToken(group, &sequence, token, logprob, /*forced=*/false);
  std::optional<FinishReason> end = EndsWith(group, token);
  if (!end.has_value() && sequence.stop_strings.has_value() && sequence.stop_strings->Push(token) &&
      static_cast<int64_t>(group.CompletionTokens(sequence)) >= group.min_new_tokens) {
    end = FinishReason::kStopString;
  }
  int removed = 0, added = 1;  // of what the scheduler knows, and beside it
  if (sequence.thinking.has_value() && end != FinishReason::kStopString) {
    const ThinkingState::Action action = sequence.thinking->Push(token, end.has_value());
    if (action.remove > 0) end.reset();
    RemoveTokens(group, &sequence, action.remove);
    for (const int32_t forced : action.force) {
      AppendToken(group, &sequence, forced, 0, /*forced=*/true);
      if (sequence.stop_strings.has_value()) sequence.stop_strings->Push(forced);
    }
    removed = std::max(0, action.remove - 1);
    added = static_cast<int>(action.force.size()) + (action.remove == 0 ? 1 : 0);
  }
  if (!end.has_value() && static_cast<int64_t>(group.CompletionTokens(sequence)) >= group.max_new_tokens) {
    end = FinishReason::kLength;
    RemoveTokens(group, &sequence, static_cast<int>(group.CompletionTokens(sequence)) - group.max_new_tokens);
  }
  if (!end.has_value()) {
    scheduler.Replace(draw.handle, draw.sample, removed, added);
    return false;
  }
  sequence.finished = true;
  sequence.finish = *end;
  scheduler.Finish(draw.handle, draw.sample);
  return true;
}

void Engine::Impl::AppendToken(const Group& group, Sequence* sequence, int32_t token, float logprob, bool forced) {
  sequence->tokens.push_back(token);
  sequence->logprobs.push_back(logprob);
  if (group.thinking.has_value()) sequence->forced.push_back(forced ? 1 : 0);
  sequence->top.resize(sequence->logprobs.size() * static_cast<size_t>(group.top_logprobs));  // none for a forced one
  if (sequence->editor.has_value()) sequence->editor->Add(token);
}

// Takes away the newest tokens.
void Engine::Impl::RemoveTokens(const Group& group, Sequence* sequence, int count) {
  if (count == 0) return;
  for (; count > 0; --count) {
    if (sequence->editor.has_value()) sequence->editor->Remove(sequence->tokens.back());
    sequence->tokens.pop_back();
    sequence->logprobs.pop_back();
    if (!sequence->forced.empty()) sequence->forced.pop_back();
    sequence->top.resize(sequence->logprobs.size() * static_cast<size_t>(group.top_logprobs));
  }
  if (!sequence->stop_strings.has_value()) return;
  sequence->stop_strings.emplace(tokenizer, group.stop_strings);
  for (size_t i = group.prompt_tokens; i < sequence->tokens.size(); ++i) {
    sequence->stop_strings->Push(sequence->tokens[i]);
  }
}

std::optional<FinishReason> Engine::Impl::EndsWith(const Group& group, int32_t token) const {
  const auto has = [token](const std::vector<int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  if (has(weights.config().eos_token_ids)) return FinishReason::kEndOfSequence;
  if (has(group.stop_token_ids)) return FinishReason::kStopToken;
  return std::nullopt;
}

GroupResult Engine::Impl::TakeResult(int64_t handle) {
  const auto it = groups.find(handle);
  Group& group = it->second;
  GroupResult result = {.handle = handle, .stream = group.stream};
  for (Sequence& sequence : group.sequences) {
    sequence.tokens.erase(sequence.tokens.begin(),
                          sequence.tokens.begin() + static_cast<std::ptrdiff_t>(group.prompt_tokens));
    result.samples.push_back({.tokens = std::move(sequence.tokens),
                              .logprobs = std::move(sequence.logprobs),
                              .forced = std::move(sequence.forced),
                              .top = std::move(sequence.top),
                              .finish = sequence.finish});
  }
  groups.erase(it);
  return result;
}

// ------------------------------------------------------------------------------------------------ scoring

absl::StatusOr<TokenScores> Engine::Score(const std::vector<int32_t>& prompt, const std::vector<int32_t>& tokens,
                                          float temperature, int top_logprobs) {
  const model::ModelConfig& config = this->config();
  HONE_RETURN_IF_ERROR(CheckPrompt(prompt, config));
  HONE_RETURN_IF_ERROR(CheckTokens("tokens", tokens, config.vocab_size));
  if (!(temperature > 0 && temperature <= 1e4f))
    return Refuse("temperature", "above 0, at most 10000", absl::StrCat(temperature));
  TokenScores scores;
  if (tokens.empty()) return scores;
  std::vector<int32_t> all = prompt;
  all.insert(all.end(), tokens.begin(), tokens.end());
  if (static_cast<int64_t>(all.size()) > config.max_positions) {
    return Refuse("tokens", absl::StrCat("prompt and tokens within the context of ", config.max_positions),
                  absl::StrCat(all.size()));
  }
  Scheduler& scheduler = impl_->scheduler;
  std::vector<int32_t> pages;
  const int page_tokens = scheduler.options().page_tokens;
  const int page_count = (static_cast<int>(all.size()) + page_tokens - 1) / page_tokens;
  if (!scheduler.TakePages(page_count, &pages)) {
    return absl::ResourceExhaustedError(absl::StrCat(all.size(), " tokens need ", page_count,
                                                     " KV pages; the cache has ", scheduler.options().page_count));
  }
  const size_t computed = all.size() - 1;  // the last token predicts nothing that was asked for
  const size_t step = static_cast<size_t>(scheduler.options().max_batch_tokens);
  for (size_t begin = 0; begin < computed; begin += step) {
    const size_t count = std::min(step, computed - begin);
    const size_t first = std::max(begin, prompt.size() - 1);  // the row that predicts tokens[0]
    std::vector<int64_t>& rows = impl_->output_rows;
    rows.clear();
    for (size_t at = first; at < begin + count; ++at) rows.push_back(static_cast<int64_t>(at - begin));
    const Chunk chunk = {
        .tokens = {all.data() + begin, count}, .position = static_cast<int32_t>(begin), .pages = pages.data()};
    impl_->hidden.Resize(rows.size() * static_cast<size_t>(config.hidden_size));
    impl_->model.Forward({&chunk, 1}, rows, &impl_->cache, impl_->hidden.data());
    impl_->ScoreRows(static_cast<int64_t>(rows.size()), all.data() + first + 1, temperature, top_logprobs, &scores);
  }
  scheduler.GiveBack(pages);
  return scores;
}

void Engine::Impl::ScoreRows(int64_t rows, const int32_t* targets, float temperature, int top_logprobs,
                             TokenScores* scores) {
  const int64_t vocab = weights.config().vocab_size;
  const int64_t tile_rows = LogitsTileRows(vocab);
  for (int64_t first = 0; first < rows; first += tile_rows) {
    const int64_t count = std::min(tile_rows, rows - first);
    logits.Resize(static_cast<size_t>(count * vocab));
    model.Logits(hidden.data() + first * weights.config().hidden_size, count, logits.data());
    const size_t at = scores->logprobs.size();
    scores->logprobs.resize(at + static_cast<size_t>(count));
    scores->entropies.resize(at + static_cast<size_t>(count));
    kernels::LogProb(ctx, logits.data(), vocab, count, vocab, temperature, targets + first,
                     scores->logprobs.data() + at, scores->entropies.data() + at, nullptr);
    for (int64_t row = 0; row < count && top_logprobs > 0; ++row) {
      scores->top.resize(scores->top.size() + static_cast<size_t>(top_logprobs));
      TopTokens(ctx, logits.data() + row * vocab, vocab, temperature,
                std::span(scores->top).last(static_cast<size_t>(top_logprobs)));
    }
  }
}

}  // namespace hone::engine
