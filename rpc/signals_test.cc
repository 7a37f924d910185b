#include "rpc/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

namespace hone {
namespace {

TEST(SignalsTest, RequestWakesEveryWaiterAndStays) {
  auto shutdown = InstallShutdownSignals();
  EXPECT_FALSE(shutdown->WaitFor(absl::Milliseconds(5)));
  EXPECT_FALSE(shutdown->requested());
  bool first = false, second = false;
  std::thread a([&] { first = shutdown->WaitFor(absl::InfiniteDuration()); });
  std::thread b([&] { second = shutdown->WaitFor(absl::InfiniteDuration()); });
  shutdown->Request();
  a.join();
  b.join();
  EXPECT_TRUE(first && second);
  EXPECT_TRUE(shutdown->WaitFor(absl::ZeroDuration()));
}

TEST(SignalsTest, TerminationSignalIsAnEventAndNotAnEnd) {
  auto shutdown = InstallShutdownSignals();
  for (const int signal_number : {SIGTERM, SIGPIPE}) {
    ASSERT_EQ(kill(getpid(), signal_number), 0);
  }
  EXPECT_TRUE(shutdown->WaitFor(absl::Seconds(30)));
  EXPECT_TRUE(shutdown->requested());
}

}  // namespace
}  // namespace hone
