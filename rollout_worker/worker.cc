#include "rollout_worker/worker.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/crash_point.h"
#include "base/logging.h"
#include "base/strings.h"
#include "hone/v1/coordinator.grpc.pb.h"
#include "rollout_worker/finisher.h"
#include "rollout_worker/group_text.h"
#include "rollout_worker/lease_table.h"
#include "rollout_worker/loaded_model.h"
#include "rollout_worker/rollout_service.h"
#include "rollout_worker/watchdog.h"
#include "rpc/channel.h"
#include "rpc/membership.h"
#include "rpc/retry.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "weight_sync/weight_receiver.h"

namespace hone {
namespace {

using kernels::DType;
using kernels::KernelContext;

constexpr absl::Duration kLeaseWait = absl::Seconds(1);  // long poll: also how soon a given-up lease is given back
constexpr absl::Duration kLeaseDeadline = absl::Seconds(6);
constexpr absl::Duration kIdlePause = absl::Milliseconds(50);
constexpr absl::Duration kFetchTimeout = absl::Minutes(5);
// Nobody waits for an acknowledgement: a learner that hangs shall not hold the worker's groups.
constexpr absl::Duration kAcknowledgeTimeout = absl::Seconds(5);
constexpr absl::Duration kFetchFailurePause = absl::Milliseconds(300);  // doubled with each failure in a row
constexpr absl::Duration kLongestFetchFailurePause = absl::Seconds(10);
constexpr absl::Duration kGaugePeriod = absl::Seconds(1);
constexpr int kMinMaxBatchTokens = 512;  // a step's budget beside its sequences, for prompts

DType DTypeOf(const v1::TaskContext& context) { return context.dtype() == v1::DTYPE_BF16 ? DType::kBf16 : DType::kF32; }

// The task's group record, without trajectories.
v1::Group GroupOf(const LeasedTask& leased, const model::FramedPrompt& prompt) {
  v1::Group group;
  group.set_run(leased.context->run());
  group.set_stage(leased.context->stage());
  group.set_group_id(leased.task.group_id());
  group.set_stream(leased.task.stream());
  group.set_attempt(leased.task.attempt());
  group.set_prompt_id(leased.task.prompt().id());
  group.mutable_prompt_tokens()->Add(prompt.tokens.begin(), prompt.tokens.end());
  group.set_state(v1::GROUP_STATE_COMPLETE);
  group.set_prompt_text(prompt.text);
  group.set_answer(leased.task.prompt().answer());
  group.set_language(leased.task.prompt().language());
  group.set_worker(Membership::DefaultMemberName());
  return group;
}

// A group in the engine.
struct Generating {
  LeasedTask leased;
  v1::Group group;
  absl::Time start;
};

}  // namespace

struct Worker::Impl {
  Impl(const Options& o, std::unique_ptr<KernelContext> context)
      : options(o),
        ctx(std::move(context)),
        channel(CreateChannel(o.coordinator)),
        model(*ctx, EngineOptions(o)),
        watchdog("the engine", absl::Seconds(o.stall_seconds)),
        service([this] { leases.Wake(); }, [this](DType dtype) { return ctx->NumericsKey(dtype); }) {}

  absl::Status Start();
  void LeaseLoop();
  absl::Status LeaseOnce(const Membership::Identity& identity);
  void AdmitTasks();
  void LoadFor(const v1::TaskContext& context);
  void StartTask(LeasedTask leased);
  void Decline(const LeasedTask& leased, const std::string& reason);
  std::string WhatTheCacheLacks(int prompt_tokens, int max_new_tokens);
  void Dispatch(engine::GroupResult result);
  void DropStaleWork();
  void UpdateGauges();
  bool stop_requested() const { return stopping.load(); }

  const Options options;
  const std::unique_ptr<KernelContext> ctx;
  const std::shared_ptr<grpc::Channel> channel;
  LeaseTable leases;
  LoadedModel model;  // the generating thread only
  Watchdog watchdog;  // of the generating thread
  GrpcWeightReceiver receiver;
  RolloutServer service;
  std::unique_ptr<RpcServer> server;
  std::unique_ptr<Membership> membership;
  std::unique_ptr<Finisher> finisher;

  // The generating thread only.
  std::function<bool()> run_cancelled;
  std::map<int64_t, Generating> generating;  // by engine handle
  int64_t generation = 0;                    // registration that the leases belong to
  std::string last_failure;
  absl::Duration failure_pause = kFetchFailurePause;
  int64_t declined_mib = 0;  // the largest --kv_memory_mib that a group was declined for the want of
  absl::Time gauge_time = absl::Now();
  int64_t gauge_tokens = 0;

  std::atomic<bool> stopping{false};
  std::mutex lease_mutex;
  grpc::ClientContext* lease_call = nullptr;  // guarded by lease_mutex
  std::thread lease_thread;
};

engine::Engine::Options Worker::EngineOptions(const Options& options) {
  return {.page_tokens = options.page_tokens,
          .kv_cache_bytes = int64_t{options.kv_memory_mib} << 20,
          .max_batch_sequences = options.max_sequences,
          .max_batch_tokens = std::max(kMinMaxBatchTokens, 2 * options.max_sequences)};
}

Worker::Worker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Worker::~Worker() {
  impl_->stopping = true;
  {
    std::lock_guard lock(impl_->lease_mutex);
    if (impl_->lease_call != nullptr) impl_->lease_call->TryCancel();
  }
  impl_->leases.Wake();
  if (impl_->lease_thread.joinable()) impl_->lease_thread.join();
  impl_->finisher.reset();
  impl_->service.Stop();
  if (impl_->server != nullptr) impl_->server->Shutdown(absl::Seconds(1));
  impl_->membership.reset();
}

std::string Worker::address() const { return impl_->server->address(); }

absl::StatusOr<std::unique_ptr<Worker>> Worker::Create(const Options& options) {
  const auto positive = [](const char* name, int value) {
    return value > 0
               ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrCat("--", name, ": expected a positive number, got ", value));
  };
  HONE_RETURN_IF_ERROR(positive("kv_memory_mib", options.kv_memory_mib));
  HONE_RETURN_IF_ERROR(positive("max_sequences", options.max_sequences));
  if (options.stall_seconds < 0) {
    return absl::InvalidArgumentError(absl::StrCat("--stall_seconds: expected 0 or more, got ", options.stall_seconds));
  }
  if (options.page_tokens <= 0 || options.page_tokens % kernels::kBlockTokens != 0) {
    return absl::InvalidArgumentError(absl::StrCat("--page_tokens: expected a positive multiple of ",
                                                   kernels::kBlockTokens, ", got ", options.page_tokens));
  }
  auto impl = std::make_unique<Impl>(options, KernelContext::Create(options.threads));
  HONE_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Worker>(new Worker(std::move(impl)));
}

absl::Status Worker::Impl::Start() {
  HONE_ASSIGN_OR_RETURN(
      server, RpcServer::Start({.listen = options.listen, .address_file = options.address_file}, {service.service()}));
  membership = Membership::Start({.channel = channel,
                                  .role = v1::MEMBER_ROLE_ROLLOUT_WORKER,
                                  .address = server->address(),
                                  .numerics_keys = {ctx->NumericsKey(DType::kF32), ctx->NumericsKey(DType::kBf16)},
                                  .alive = [this] { return !watchdog.stalled(); }});
  finisher = std::make_unique<Finisher>(Finisher::Options{
      .coordinator = channel,
      .membership = membership.get(),
      .done = [this](uint64_t id) { leases.Remove(id); },
      .newest_attempt = [this](uint64_t id, int32_t attempt) { return leases.NewestAttempt(id, attempt); },
      .patience = options.stall_seconds > 0 ? absl::Seconds(options.stall_seconds) : absl::InfiniteDuration()});
  lease_thread = std::thread([this] { LeaseLoop(); });
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------------ leasing

void Worker::Impl::LeaseLoop() {
  const auto is_stopping = [this] { return stop_requested(); };
  int failures = 0;
  while (!stop_requested()) {
    const auto identity = membership->WaitUntilRegistered(is_stopping);
    if (!identity.ok()) continue;  // refused for now (Membership keeps asking) or stopping
    const absl::Status status = LeaseOnce(*identity);
    if (status.ok()) {
      failures = 0;
      continue;
    }
    if (absl::IsNotFound(status)) membership->ReportLost(identity->member_id);
    if (failures == 3) HONE_INFO << "leasing groups: " << status.ToString();
    SleepUnless(is_stopping, RetryPause(RetryPolicy(), failures++));
  }
}

absl::Status Worker::Impl::LeaseOnce(const Membership::Identity& identity) {
  if (watchdog.stalled()) return absl::UnavailableError("the engine stands still");
  // A quarter more than fit at once: successors of finished sequences are there before they are needed.
  const uint64_t seen = leases.changes();
  const int credit = leases.Credit(options.max_sequences + options.max_sequences / 4);
  v1::LeaseGroupsRequest request;
  request.set_member_id(identity.member_id);
  request.set_max_groups(credit);
  request.mutable_wait()->set_seconds(credit > 0 ? absl::ToInt64Seconds(kLeaseWait) : 0);
  for (const uint64_t id : leases.Held()) request.add_holding(id);
  grpc::ClientContext call;
  SetDeadline(call, kLeaseDeadline);
  {
    std::lock_guard lock(lease_mutex);
    if (stop_requested()) return absl::CancelledError("shutting down");
    lease_call = &call;
  }
  v1::LeaseGroupsResponse response;
  const absl::Status status =
      FromGrpc(v1::CoordinatorService::NewStub(channel)->LeaseGroups(&call, request, &response));
  {
    std::lock_guard lock(lease_mutex);
    lease_call = nullptr;
  }
  HONE_RETURN_IF_ERROR(status);
  finisher->SetRewardAddresses({response.reward_addresses().begin(), response.reward_addresses().end()});
  // Leases of a membership that is over are void: the new one is asked instead.
  if (membership->identity().generation == identity.generation) leases.Add(response);
  // Without credit this call only renews leases and learns of reward servers.
  if (credit == 0) leases.WaitForChange(seen, kLeaseWait);
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------------ generating

absl::Status Worker::Run(const std::function<bool()>& cancelled) {
  Impl& w = *impl_;
  // Whatever asks whether to go on is moving.
  w.run_cancelled = [&w, &cancelled] {
    w.watchdog.Moved();
    return cancelled();
  };
  while (!w.run_cancelled()) {
    const uint64_t seen = w.leases.changes();
    w.DropStaleWork();
    w.service.Admit(&w.model);
    w.AdmitTasks();
    w.UpdateGauges();
    engine::Engine* engine = w.model.engine();
    if (engine == nullptr || engine->idle()) {
      w.leases.WaitForChange(seen, kIdlePause);
      continue;
    }
    for (engine::GroupResult& result : engine->Step()) {
      if (!w.service.Deliver(&result, w.model)) w.Dispatch(std::move(result));
    }
  }
  return absl::OkStatus();
}

// After a registration the leases of before are void; what is generated already is handed in all the same.
void Worker::Impl::DropStaleWork() {
  const int64_t current = membership->identity().generation;
  if (current == generation) return;
  if (generation > 0) {
    leases.DropUnfinished();
    for (const auto& [handle, work] : generating) model.engine()->Cancel(handle);
    generating.clear();
  }
  generation = current;
}

void Worker::Impl::AdmitTasks() {
  for (;;) {
    const std::shared_ptr<const v1::TaskContext> next = leases.NextContext();
    if (next == nullptr) return;
    const bool loaded = model.Holds(next->run(), next->version().number(), next->version().root_hash(), DTypeOf(*next));
    if (!loaded) {
      // Weights change only between groups: what is in work is finished by the version that began it.
      if (!generating.empty() || service.busy()) return;
      LoadFor(*next);
      continue;
    }
    for (std::optional<LeasedTask> task; (task = leases.Take(next.get())).has_value();) StartTask(*std::move(task));
  }
}

void Worker::Impl::LoadFor(const v1::TaskContext& context) {
  const absl::Time start = absl::Now();
  WeightReceiver::Request request = {.address = context.weights_address(),
                                     .run = context.run(),
                                     .version = context.version().number(),
                                     .root_hash = context.version().root_hash(),
                                     .timeout = kFetchTimeout,
                                     .cancelled = run_cancelled};
  absl::Status status;
  std::string declined;
  if (auto snapshot = receiver.Receive(request); snapshot.ok()) {
    status = model.Load(**snapshot, DTypeOf(context));
    // The weights are whole, so trying again changes nothing. (Out of memory: the engine's first pages do not fit.)
    if (absl::IsResourceExhausted(status)) {
      declined = absl::StrCat("--kv_memory_mib=", options.kv_memory_mib, ": ", status.message());
    } else if (!status.ok()) {
      declined = absl::StrCat("the model cannot be loaded: ", status.message());
    } else {
      request.timeout = kAcknowledgeTimeout;
      if (const absl::Status told = receiver.Acknowledge(request, membership->member_id(), **snapshot); !told.ok()) {
        HONE_DEBUG << "acknowledging version " << request.version << ": " << told.ToString();
      }
    }
  } else {
    status = snapshot.status();
  }
  if (status.ok()) {
    HONE_DEBUG << "version " << request.version << " of run " << request.run << " loaded in "
               << absl::ToDoubleSeconds(absl::Now() - start) << " s";
    last_failure.clear();
    failure_pause = kFetchFailurePause;
    return;
  }
  if (!declined.empty()) {
    if (declined != last_failure) HONE_ERROR << "groups of run " << request.run << " are declined: " << declined;
    last_failure = declined;
    for (std::optional<LeasedTask> task; (task = leases.Take(&context)).has_value();) Decline(*task, declined);
    return;
  }
  // The coordinator leases these again, with the address of whoever serves the version then: first to others, which may
  // reach it where this worker cannot.
  const int dropped = leases.DropQueued(context, failure_pause);
  if (status.ToString() != last_failure) {
    last_failure = status.ToString();
    HONE_WARNING << "version " << request.version << " of run " << request.run << " cannot be had, " << dropped
                 << " leases are given back: " << last_failure;
  }
  failure_pause = std::min(2 * failure_pause, kLongestFetchFailurePause);
  SleepUnless(run_cancelled, kFetchFailurePause);
}

void Worker::Impl::StartTask(LeasedTask leased) {
  const uint64_t id = leased.task.group_id();
  const absl::StatusOr<model::FramedPrompt> prompt = PreparePrompt(leased.task, *leased.context, *model.text());
  absl::Status status = prompt.status();
  if (status.ok()) {
    engine::GroupRequest request = MakeGroupRequest(leased.context->sampling(), *prompt);
    request.stream = leased.task.stream();
    request.key = kernels::StreamKey(leased.context->run_seed(), leased.context->stage().c_str());
    request.samples = std::max(1, leased.context->group_size());
    const int max_new_tokens = request.max_new_tokens;
    HONE_CRASH_POINT("worker.before_generate");
    const absl::StatusOr<int64_t> handle = model.engine()->SubmitGroup(std::move(request));
    status = handle.status();
    if (status.ok()) {
      v1::Group group = GroupOf(leased, *prompt);
      generating[*handle] = {std::move(leased), std::move(group), absl::Now()};
      return;
    }
    if (absl::IsResourceExhausted(status)) {
      Decline(leased, WhatTheCacheLacks(static_cast<int>(prompt->tokens.size()), max_new_tokens));
      return;
    }
  }
  // A prompt that cannot be generated is a result, with its reason.
  v1::Group group = GroupOf(leased, {});
  group.set_state(v1::GROUP_STATE_DROPPED);
  group.set_drop_reason(MendUtf8(std::string(status.message())));
  leases.StartFinishing(id);
  finisher->Add({.group = std::move(group), .context = leased.context});
}

std::string Worker::Impl::WhatTheCacheLacks(int prompt_tokens, int max_new_tokens) {
  constexpr int64_t kMib = int64_t{1} << 20;
  const int64_t needed = (model.engine()->CacheBytesNeeded(prompt_tokens, max_new_tokens) + kMib - 1) / kMib;
  std::string reason = absl::StrCat("--kv_memory_mib: expected at least ", needed, " for a prompt of ", prompt_tokens,
                                    " tokens with up to ", max_new_tokens, " new ones, got ", options.kv_memory_mib);
  // Many groups may be declined for one reason; only what asks for more than was said before is worth a line.
  if (needed > declined_mib) {
    HONE_ERROR << "groups are declined, other workers may do them: " << reason;
    declined_mib = needed;
  }
  return reason;
}

void Worker::Impl::Decline(const LeasedTask& leased, const std::string& reason) {
  leases.StartFinishing(leased.task.group_id());
  finisher->Add({.group = GroupOf(leased, {}), .declined = reason, .context = leased.context});
}

void Worker::Impl::Dispatch(engine::GroupResult result) {
  const auto it = generating.find(result.handle);
  if (it == generating.end()) return;
  Generating work = std::move(it->second);
  generating.erase(it);
  work.group.set_generate_seconds(absl::ToDoubleSeconds(absl::Now() - work.start));
  leases.StartFinishing(work.group.group_id());
  finisher->Add({.group = std::move(work.group),
                 .context = work.leased.context,
                 .result = std::move(result),
                 .text = model.text(),
                 .version = model.version(),
                 .numerics_key = ctx->NumericsKey(model.dtype())});
}

void Worker::Impl::UpdateGauges() {
  const absl::Time now = absl::Now();
  if (now - gauge_time < kGaugePeriod) return;
  const engine::Engine::Stats stats = model.engine() == nullptr ? engine::Engine::Stats() : model.engine()->stats();
  // A new engine counts from 0.
  const int64_t tokens =
      stats.sampled_tokens >= gauge_tokens ? stats.sampled_tokens - gauge_tokens : stats.sampled_tokens;
  membership->SetGauge("tokens_per_s", static_cast<double>(tokens) / absl::ToDoubleSeconds(now - gauge_time));
  membership->SetGauge("running_sequences", stats.running_sequences);
  membership->SetGauge("kv_use", stats.kv_use);
  membership->SetGauge("preemptions", static_cast<double>(stats.preemptions));
  gauge_time = now;
  gauge_tokens = stats.sampled_tokens;
}

}  // namespace hone
