#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "hone/v1/learner.grpc.pb.h"
#include "model/model.h"
#include "rpc/server.h"
#include "weight_sync/weight_receiver.h"
#include "weight_sync/weight_server.h"
#include "weight_sync/weight_snapshot.h"

namespace hone {
namespace {

model::ModelConfig SmallConfig() {
  model::ModelConfig config;
  config.vocab_size = 101;
  config.hidden_size = 32;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.ffn_size = 48;
  config.max_positions = 64;
  return config;
}

// Its embedding alone takes 16 chunks, more than gRPC sends ahead of a reader.
model::ModelConfig LargeConfig() {
  model::ModelConfig config = SmallConfig();
  config.vocab_size = 128 * 1024;
  config.tied_embeddings = true;
  return config;
}

class WeightSyncTest : public testing::Test {
 protected:
  std::shared_ptr<const WeightSnapshot> Make(const model::ModelConfig& config, kernels::DType dtype, int64_t number,
                                             uint64_t seed = 1) {
    const model::FlatTensor masters = model::RandomParameters(config, seed);
    return MakeSnapshot(*context_, config, masters, dtype,
                        {.run = "demo",
                         .number = number,
                         .parent = number - 1,
                         .learner_epoch = 3,
                         .root_hash = model::RootHash(config, masters)},
                        {{"config.json", "{}"}, {"tokenizer.json", std::string("a\0b", 3)}});
  }

  // Serves `service` until the test ends.
  std::string Serve(grpc::Service* service) {
    auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {service});
    EXPECT_TRUE(server.ok()) << server.status().ToString();
    if (!server.ok()) return "";
    server_ = *std::move(server);
    return server_->address();
  }

  WeightReceiver::Request Ask(const std::string& address, const WeightSnapshot& snapshot) {
    return {.address = address,
            .run = "demo",
            .version = snapshot.version().number,
            .root_hash = snapshot.version().root_hash,
            .timeout = absl::Seconds(60)};
  }

  const std::unique_ptr<kernels::KernelContext> context_ = kernels::KernelContext::Create(1);
  WeightServer weights_;
  std::unique_ptr<RpcServer> server_;
  GrpcWeightReceiver receiver_;
};

void ExpectEqual(const WeightSnapshot& a, const WeightSnapshot& b) {
  EXPECT_EQ(a.content_hash(), b.content_hash());
  EXPECT_EQ(a.model_files(), b.model_files());
  EXPECT_EQ(a.version().root_hash, b.version().root_hash);
  EXPECT_EQ(a.version().parent, b.version().parent);
  EXPECT_EQ(a.version().learner_epoch, b.version().learner_epoch);
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (size_t i = 0; i < a.tensors().size(); ++i) {
    EXPECT_EQ(a.tensors()[i].name, b.tensors()[i].name);
    EXPECT_EQ(a.tensors()[i].shape, b.tensors()[i].shape);
    EXPECT_TRUE(std::ranges::equal(a.tensors()[i].bytes, b.tensors()[i].bytes)) << a.tensors()[i].name;
  }
}

TEST_F(WeightSyncTest, BothDtypesArriveBitForBit) {
  const std::string address = Serve(weights_.service());
  for (const kernels::DType dtype : {kernels::DType::kF32, kernels::DType::kBf16}) {
    const auto snapshot = Make(SmallConfig(), dtype, 7);
    weights_.Publish(snapshot);
    const auto received = receiver_.Receive(Ask(address, *snapshot));
    ASSERT_TRUE(received.ok()) << received.status().ToString();
    ExpectEqual(**received, *snapshot);
  }
}

TEST_F(WeightSyncTest, ValuesAreTheMasters) {
  const model::ModelConfig config = SmallConfig();
  model::FlatTensor masters = model::RandomParameters(config, 1);
  const model::ParameterLayout layout(config);
  masters[static_cast<size_t>(layout.Find("model.norm.weight")->offset)] = 1.001f;  // not a bf16 number
  for (const kernels::DType dtype : {kernels::DType::kF32, kernels::DType::kBf16}) {
    size_t seen = 0;
    const absl::Status status =
        MakeSnapshot(*context_, config, masters, dtype, {}, {})
            ->VisitTensors(*context_, [&](std::string_view name, std::span<const float> values) {
              const model::ParameterInfo* info = layout.Find(name);
              EXPECT_NE(info, nullptr);
              EXPECT_EQ(values.size(), static_cast<size_t>(info->size));
              for (size_t i = 0; i < values.size(); ++i) {
                const float master = masters[static_cast<size_t>(info->offset) + i];
                // bf16 keeps 8 bits of significand: half a unit in the last place is 2^-9 relative. Vectors stay fp32.
                const bool rounded = dtype == kernels::DType::kBf16 && info->shape.size() > 1;
                const float tolerance = rounded ? std::abs(master) / 256 : 0;
                EXPECT_NEAR(values[i], master, tolerance) << name << " " << i;
              }
              ++seen;
              return absl::OkStatus();
            });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(seen, layout.entries().size());
  }
}

TEST_F(WeightSyncTest, Fp32ContentHashIsTheRootHash) {
  EXPECT_EQ(Make(SmallConfig(), kernels::DType::kF32, 0)->content_hash(),
            model::RootHash(SmallConfig(), model::RandomParameters(SmallConfig(), 1)));
  EXPECT_NE(Make(SmallConfig(), kernels::DType::kBf16, 0)->content_hash(),
            model::RootHash(SmallConfig(), model::RandomParameters(SmallConfig(), 1)));
}

TEST_F(WeightSyncTest, WhatIsNotServedIsNotFound) {
  const std::string address = Serve(weights_.service());
  const auto snapshot = Make(SmallConfig(), kernels::DType::kF32, 7);
  EXPECT_TRUE(absl::IsNotFound(receiver_.Receive(Ask(address, *snapshot)).status()));
  weights_.Publish(snapshot);
  WeightReceiver::Request request = Ask(address, *snapshot);
  request.version = 8;
  EXPECT_TRUE(absl::IsNotFound(receiver_.Receive(request).status()));
  request = Ask(address, *snapshot);
  request.run = "other";
  EXPECT_TRUE(absl::IsNotFound(receiver_.Receive(request).status()));
}

TEST_F(WeightSyncTest, AnotherRootHashThanExpectedIsRefused) {
  const std::string address = Serve(weights_.service());
  const auto snapshot = Make(SmallConfig(), kernels::DType::kF32, 7);
  weights_.Publish(snapshot);
  WeightReceiver::Request request = Ask(address, *snapshot);
  request.root_hash = std::string(64, '0');
  const absl::Status status = receiver_.Receive(request).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status.ToString();
}

TEST_F(WeightSyncTest, AcknowledgementsAreCounted) {
  const std::string address = Serve(weights_.service());
  const auto snapshot = Make(SmallConfig(), kernels::DType::kF32, 7);
  weights_.Publish(snapshot);
  const auto received = receiver_.Receive(Ask(address, *snapshot));
  ASSERT_TRUE(received.ok());
  EXPECT_TRUE(receiver_.Acknowledge(Ask(address, *snapshot), "w1", **received).ok());
  EXPECT_TRUE(receiver_.Acknowledge(Ask(address, *snapshot), "w1", **received).ok());
  EXPECT_TRUE(receiver_.Acknowledge(Ask(address, *snapshot), "w2", **received).ok());
  EXPECT_EQ(weights_.acknowledgements(), 2);
  const auto other = Make(SmallConfig(), kernels::DType::kF32, 7, /*seed=*/2);
  EXPECT_EQ(receiver_.Acknowledge(Ask(address, *snapshot), "w3", *other).code(), absl::StatusCode::kInvalidArgument);
  weights_.Publish(Make(SmallConfig(), kernels::DType::kF32, 8));
  EXPECT_EQ(weights_.acknowledgements(), 0);
}

// A learner that takes the call and never answers.
class HangingWeightService final : public v1::WeightService::Service {
  grpc::Status AcknowledgeVersion(grpc::ServerContext* context, const v1::AcknowledgeVersionRequest*,
                                  v1::AcknowledgeVersionResponse*) override {
    while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    return grpc::Status::CANCELLED;
  }
};

TEST_F(WeightSyncTest, AnAcknowledgementThatIsNotAnsweredEndsAtItsTimeout) {
  HangingWeightService service;
  const auto snapshot = Make(SmallConfig(), kernels::DType::kF32, 7);
  WeightReceiver::Request request = Ask(Serve(&service), *snapshot);
  request.timeout = absl::Milliseconds(50);
  EXPECT_EQ(receiver_.Acknowledge(request, "w1", *snapshot).code(), absl::StatusCode::kDeadlineExceeded);
  server_.reset();  // before the service
}

TEST_F(WeightSyncTest, ReplacedDuringTheStreamIsAborted) {
  const std::string address = Serve(weights_.service());
  const auto snapshot = Make(LargeConfig(), kernels::DType::kF32, 7);
  weights_.Publish(snapshot);
  WeightReceiver::Request request = Ask(address, *snapshot);
  int chunks = 0;
  request.cancelled = [&] {
    if (++chunks == 2) weights_.Publish(Make(SmallConfig(), kernels::DType::kF32, 8));
    return false;
  };
  const absl::Status status = receiver_.Receive(request).status();
  EXPECT_TRUE(absl::IsAborted(status)) << status.ToString();
  EXPECT_GE(chunks, 2);
}

TEST_F(WeightSyncTest, AsManyVersionsAsAskedForAreKept) {
  const std::string address = Serve(weights_.service());
  std::vector<std::shared_ptr<const WeightSnapshot>> snapshots;
  for (int64_t version = 5; version < 8; ++version) {
    snapshots.push_back(Make(SmallConfig(), kernels::DType::kF32, version));
    weights_.Publish(snapshots.back(), 2);
  }
  const absl::Status gone = receiver_.Receive(Ask(address, *snapshots[0])).status();
  EXPECT_TRUE(absl::IsNotFound(gone)) << gone;
  EXPECT_TRUE(receiver_.Receive(Ask(address, *snapshots[1])).ok());
  EXPECT_TRUE(receiver_.Receive(Ask(address, *snapshots[2])).ok());
  weights_.Publish(snapshots[1], 2);  // the learner went back
  EXPECT_TRUE(absl::IsNotFound(receiver_.Receive(Ask(address, *snapshots[2])).status()));
  weights_.Publish(snapshots[2]);
  EXPECT_TRUE(absl::IsNotFound(receiver_.Receive(Ask(address, *snapshots[1])).status()));
}

TEST_F(WeightSyncTest, ServerGoneDuringTheStreamIsUnavailable) {
  const std::string address = Serve(weights_.service());
  const auto snapshot = Make(LargeConfig(), kernels::DType::kF32, 7);
  weights_.Publish(snapshot);
  WeightReceiver::Request request = Ask(address, *snapshot);
  int chunks = 0;
  std::thread shutdown;  // Shutdown waits for the handler, which waits for this thread to read on
  request.cancelled = [&] {
    if (++chunks == 2) shutdown = std::thread([&] { server_->Shutdown(absl::ZeroDuration()); });
    return false;
  };
  const absl::Status status = receiver_.Receive(request).status();
  shutdown.join();
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsCancelled(status)) << status.ToString();
}

TEST_F(WeightSyncTest, ReceiverGivesUpWhenCancelled) {
  const std::string address = Serve(weights_.service());
  const auto snapshot = Make(LargeConfig(), kernels::DType::kBf16, 7);
  weights_.Publish(snapshot);
  WeightReceiver::Request request = Ask(address, *snapshot);
  request.cancelled = [] { return true; };
  EXPECT_TRUE(absl::IsCancelled(receiver_.Receive(request).status()));
}

// Serves a snapshot with one thing wrong.
class FaultyService final : public v1::WeightService::Service {
 public:
  explicit FaultyService(std::shared_ptr<const WeightSnapshot> snapshot) : snapshot_(std::move(snapshot)) {}
  std::function<void(v1::WeightManifest*)> spoil_manifest;
  std::function<void(v1::WeightChunk*)> spoil_chunk;
  int stop_after = 1 << 30;

 private:
  grpc::Status GetManifest(grpc::ServerContext*, const v1::GetManifestRequest*, v1::WeightManifest* manifest) override {
    manifest->mutable_version()->set_number(snapshot_->version().number);
    manifest->mutable_version()->set_root_hash(snapshot_->version().root_hash);
    for (const WeightTensor& tensor : snapshot_->tensors()) {
      v1::TensorEntry* entry = manifest->add_tensors();
      entry->set_name(tensor.name);
      for (const int64_t d : tensor.shape) entry->add_shape(d);
      entry->set_dtype(v1::DTYPE_FP32);
      entry->set_size_bytes(tensor.bytes.size());
      entry->set_sha256(tensor.sha256);
    }
    manifest->set_model_files_sha256(ModelFilesHash({}));
    manifest->set_content_hash(snapshot_->content_hash());
    if (spoil_manifest) spoil_manifest(manifest);
    return grpc::Status::OK;
  }
  grpc::Status FetchWeights(grpc::ServerContext*, const v1::FetchWeightsRequest*,
                            grpc::ServerWriter<v1::WeightChunk>* writer) override {
    int sent = 0;
    for (size_t i = 0; i < snapshot_->tensors().size() && sent < stop_after; ++i, ++sent) {
      v1::WeightChunk chunk;
      chunk.set_tensor_index(static_cast<int32_t>(i));
      chunk.set_data(snapshot_->tensors()[i].bytes.data(), snapshot_->tensors()[i].bytes.size());
      if (spoil_chunk) spoil_chunk(&chunk);
      writer->Write(chunk);
    }
    return grpc::Status::OK;
  }
  std::shared_ptr<const WeightSnapshot> snapshot_;
};

class FaultyTest : public WeightSyncTest {
 protected:
  absl::Status Receive() { return receiver_.Receive(Ask(Serve(&service_), *snapshot_)).status(); }
  std::shared_ptr<const WeightSnapshot> snapshot_ = Make(SmallConfig(), kernels::DType::kF32, 7);
  FaultyService service_{snapshot_};
  ~FaultyTest() override { server_.reset(); }
};

TEST_F(FaultyTest, WithoutFaultItArrives) { EXPECT_TRUE(Receive().ok()); }

TEST_F(FaultyTest, OneFlippedBitIsFoundAndTheTensorNamed) {
  service_.spoil_chunk = [](v1::WeightChunk* chunk) {
    if (chunk->tensor_index() == 3) (*chunk->mutable_data())[17] ^= 1;
  };
  const absl::Status status = Receive();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status.ToString();
  EXPECT_NE(status.ToString().find(snapshot_->tensors()[3].name), std::string::npos) << status.ToString();
}

TEST_F(FaultyTest, ShortStreamIsDataLoss) {
  service_.stop_after = 5;
  EXPECT_TRUE(absl::IsDataLoss(Receive()));
}

TEST_F(FaultyTest, ShortLongAndMisplacedChunksAreDataLoss) {
  for (const auto& spoil : std::vector<std::function<void(v1::WeightChunk*)>>{
           [](v1::WeightChunk* chunk) { chunk->mutable_data()->append("x"); },
           [](v1::WeightChunk* chunk) { chunk->mutable_data()->clear(); },
           [](v1::WeightChunk* chunk) { chunk->set_offset_bytes(4); },
           [](v1::WeightChunk* chunk) { chunk->set_tensor_index(chunk->tensor_index() + 1); },
           [](v1::WeightChunk* chunk) { chunk->set_tensor_index(-1); }}) {
    service_.spoil_chunk = spoil;
    EXPECT_TRUE(absl::IsDataLoss(Receive()));
    server_.reset();
  }
}

TEST_F(FaultyTest, ManifestsThatContradictThemselvesAreRefused) {
  for (const auto& spoil : std::vector<std::function<void(v1::WeightManifest*)>>{
           [](v1::WeightManifest* m) { m->set_content_hash(std::string(64, 'a')); },
           [](v1::WeightManifest* m) { m->mutable_tensors(2)->set_sha256(std::string(64, 'a')); },
           [](v1::WeightManifest* m) { m->mutable_tensors(2)->set_size_bytes(12); },
           [](v1::WeightManifest* m) { m->mutable_tensors(2)->set_shape(0, -1); },
           [](v1::WeightManifest* m) { m->mutable_tensors(2)->set_dtype(v1::DTYPE_UNSPECIFIED); },
           [](v1::WeightManifest* m) { m->mutable_version()->set_number(9); },
           [](v1::WeightManifest* m) { m->add_model_files()->set_name("config.json"); },
           [](v1::WeightManifest* m) { m->mutable_tensors(2)->set_name("other"); }}) {
    service_.spoil_manifest = spoil;
    const absl::Status status = Receive();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status.ToString();
    server_.reset();
  }
}

TEST_F(FaultyTest, ClaimsBeyondTheLimitAllocateNothing) {
  service_.spoil_manifest = [](v1::WeightManifest* m) {
    v1::TensorEntry* entry = m->mutable_tensors(0);
    entry->clear_shape();
    entry->add_shape(int64_t{1} << 50);
    entry->set_size_bytes(uint64_t{1} << 52);
  };
  EXPECT_EQ(Receive().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace hone
