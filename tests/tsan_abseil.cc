// Tells the thread sanitizer what the system's Abseil and gRPC order. They carry no instrumentation and their mutexes
// sleep by system calls of their own, so that every object which one thread hands to another through gRPC would look
// like a race.
//
// A program's own symbols come before those of its libraries: the libraries' calls arrive here, are passed on to the
// real functions, and leave an edge behind. One clock serves all mutexes, for gRPC also hands over by lock-free queues,
// with a lock before and after: more is taken to be ordered than is, but only between threads that have both been
// inside gRPC. Our own code locks std::mutex, which the sanitizer knows.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/synchronization/mutex.h"

namespace {

char clock_of_all;

void Acquire() { __tsan_acquire(&clock_of_all); }
void Release() { __tsan_release(&clock_of_all); }

// gRPC looks at errno after a lock, and the sanitizer does not keep it.
class KeepErrno {
 public:
  ~KeepErrno() { errno = value_; }

 private:
  int value_ = errno;
};

// The library's function behind one of those below: the next of the same name.
template <class Real, class Method>
Real Next(Method here) {
  void* address;
  std::memcpy(&address, &here, sizeof(address));  // a method that is not virtual: the first word is its address
  Dl_info info;
  if (dladdr(address, &info) == 0 || info.dli_sname == nullptr) std::abort();
  void* real = dlsym(RTLD_NEXT, info.dli_sname);
  if (real == nullptr || real == address) std::abort();
  return reinterpret_cast<Real>(real);
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  const KeepErrno keep;
  static const auto real = Next<void (*)(Mutex*)>(&Mutex::Lock);
  real(this);
  Acquire();
}

bool Mutex::TryLock() {
  const KeepErrno keep;
  static const auto real = Next<bool (*)(Mutex*)>(&Mutex::TryLock);
  const bool locked = real(this);
  if (locked) Acquire();
  return locked;
}

void Mutex::Unlock() {
  const KeepErrno keep;
  static const auto real = Next<void (*)(Mutex*)>(&Mutex::Unlock);
  Release();
  real(this);
}

void CondVar::Wait(Mutex* mutex) {
  const KeepErrno keep;
  static const auto real = Next<void (*)(CondVar*, Mutex*)>(&CondVar::Wait);
  Release();
  real(this, mutex);
  Acquire();
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  const KeepErrno keep;
  static const auto real = Next<bool (*)(CondVar*, Mutex*, Time)>(&CondVar::WaitWithDeadline);
  Release();
  const bool timed_out = real(this, mutex, deadline);
  Acquire();
  return timed_out;
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  const KeepErrno keep;
  static const auto real = Next<bool (*)(CondVar*, Mutex*, Duration)>(&CondVar::WaitWithTimeout);
  Release();
  const bool timed_out = real(this, mutex, timeout);
  Acquire();
  return timed_out;
}

ABSL_NAMESPACE_END
}  // namespace absl
