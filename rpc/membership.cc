#include "rpc/membership.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "hone/v1/coordinator.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/retry.h"
#include "rpc/status.h"

namespace hone {
namespace {

constexpr absl::Duration kRefusedPause = absl::Seconds(2);
constexpr absl::Duration kDefaultInterval = absl::Seconds(1);
constexpr absl::Duration kCallDeadline = absl::Seconds(5);

absl::Duration HeartbeatInterval(const v1::RegisterResponse& response) {
  const absl::Duration interval =
      absl::Seconds(response.heartbeat_interval().seconds()) + absl::Nanoseconds(response.heartbeat_interval().nanos());
  return interval > absl::ZeroDuration() ? interval : kDefaultInterval;
}

}  // namespace

struct Membership::Impl {
  explicit Impl(Options o) : options(std::move(o)), stub(v1::CoordinatorService::NewStub(options.channel)) {}

  // Sleeps; false where the thread must stop. Ends early where the membership was reported lost.
  bool Pause(absl::Duration pause) {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, absl::ToChronoMilliseconds(pause), [this] { return stopping || lost; });
    return !stopping;
  }

  // Makes one call that the destructor can cancel.
  template <typename Call>
  absl::Status Invoke(Call&& call) {
    grpc::ClientContext context;
    SetDeadline(context, kCallDeadline);
    {
      std::lock_guard lock(mutex);
      if (stopping) return absl::CancelledError("shutting down");
      in_flight = &context;
    }
    const absl::Status status = FromGrpc(call(&context));
    std::lock_guard lock(mutex);
    in_flight = nullptr;
    return status;
  }

  // Registers, however long it takes; false where the thread must stop.
  bool RegisterUntilDone() {
    v1::RegisterRequest request;
    request.set_role(options.role);
    request.set_name(options.name);
    request.set_address(options.address);
    for (const std::string& key : options.numerics_keys) request.add_numerics_keys(key);
    for (int attempt = 0;; ++attempt) {
      v1::RegisterResponse response;
      const absl::Status result =
          Invoke([&](grpc::ClientContext* context) { return stub->Register(context, request, &response); });
      if (result.ok()) {
        Adopt(response);
        return true;
      }
      const bool away = IsRetryable(result.code()) || absl::IsDeadlineExceeded(result) || absl::IsCancelled(result);
      {
        std::lock_guard lock(mutex);
        lost = false;
        if (!away && result != status) HONE_WARNING << "the coordinator refuses this member: " << result.ToString();
        status = away ? absl::OkStatus() : result;
      }
      if (attempt == 0 && away) HONE_INFO << "waiting for the coordinator: " << result.ToString();
      if (!Pause(away ? RetryPause(RetryPolicy(), attempt) : kRefusedPause)) return false;
    }
  }

  void Adopt(const v1::RegisterResponse& response) {
    Identity now;
    {
      std::lock_guard lock(mutex);
      identity.member_id = response.member_id();
      identity.learner_epoch = response.learner_epoch();
      ++identity.generation;
      interval = HeartbeatInterval(response);
      lost = false;
      registered = true;
      status = absl::OkStatus();
      now = identity;
    }
    HONE_INFO << "registered with the coordinator as " << now.member_id;
    changed.notify_all();
    if (options.on_registered) options.on_registered(now);
  }

  // Heartbeats until the membership is lost (true) or the thread must stop (false).
  bool BeatUntilLost() {
    for (;;) {
      v1::HeartbeatRequest request;
      {
        std::unique_lock lock(mutex);
        changed.wait_for(lock, absl::ToChronoMilliseconds(interval), [this] { return stopping || lost; });
        if (stopping) return false;
        if (lost) return true;
        request.set_member_id(identity.member_id);
        for (const auto& [name, value] : gauges) (*request.mutable_gauges())[name] = value;
      }
      if (options.alive && !options.alive()) continue;
      v1::HeartbeatResponse response;
      const absl::Status result =
          Invoke([&](grpc::ClientContext* context) { return stub->Heartbeat(context, request, &response); });
      if (absl::IsNotFound(result)) {
        HONE_WARNING << "the coordinator no longer knows this member: " << result.ToString();
        return true;
      }
      if (!result.ok()) HONE_DEBUG << "heartbeat: " << result.ToString();
    }
  }

  void Run() {
    while (RegisterUntilDone() && BeatUntilLost()) {
      std::lock_guard lock(mutex);
      registered = false;
      if (options.register_again) continue;
      status = absl::FailedPreconditionError(
          absl::StrCat("membership ", identity.member_id, " was lost: the coordinator presumed this process dead"));
      break;
    }
    changed.notify_all();
  }

  const Options options;
  const std::unique_ptr<v1::CoordinatorService::Stub> stub;

  std::mutex mutex;
  std::condition_variable changed;
  // Guarded by `mutex`.
  bool stopping = false;
  bool registered = false;
  bool lost = false;
  Identity identity;
  absl::Duration interval = kDefaultInterval;
  absl::Status status;
  std::map<std::string, double> gauges;
  grpc::ClientContext* in_flight = nullptr;

  std::thread thread;  // last: it uses all of the above
};

Membership::Membership(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->Run(); });
}

std::unique_ptr<Membership> Membership::Start(Options options) {
  return std::unique_ptr<Membership>(new Membership(std::make_unique<Impl>(std::move(options))));
}

Membership::~Membership() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    if (impl_->in_flight != nullptr) impl_->in_flight->TryCancel();
  }
  impl_->changed.notify_all();
  impl_->thread.join();
}

absl::StatusOr<Membership::Identity> Membership::WaitUntilRegistered(const std::function<bool()>& cancelled) {
  std::unique_lock lock(impl_->mutex);
  for (;;) {
    if (impl_->registered && !impl_->lost) return impl_->identity;
    if (!impl_->registered && !impl_->options.register_again && impl_->identity.generation > 0) return impl_->status;
    // `cancelled` is not under our control: never call it with the lock held.
    lock.unlock();
    if (cancelled && cancelled()) return absl::CancelledError("shutting down before the coordinator answered");
    lock.lock();
    impl_->changed.wait_for(lock, std::chrono::milliseconds(20));
  }
}

Membership::Identity Membership::identity() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->identity;
}

absl::Status Membership::status() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->status;
}

void Membership::ReportLost(const std::string& member_id) {
  {
    std::lock_guard lock(impl_->mutex);
    if (member_id != impl_->identity.member_id) return;
    impl_->lost = true;
  }
  impl_->changed.notify_all();
}

void Membership::SetGauge(const std::string& name, double value) {
  std::lock_guard lock(impl_->mutex);
  impl_->gauges[name] = value;
}

std::string Membership::DefaultMemberName() {
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return absl::StrCat(host[0] == '\0' ? "localhost" : host, ":", getpid());
}

}  // namespace hone
