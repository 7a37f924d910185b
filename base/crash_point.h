// Named places where a test may kill the process, to prove that nothing acknowledged is lost there.
//
// HONE_CRASH_AT="name" or "name:N" in a process's environment makes it _exit(137), without unwinding or flushing, the
// first (or N-th, counted from 1) time it passes HONE_CRASH_POINT("name"). Unset: nothing happens. docs/durability.md
// lists every name. HONE_HANG_AT, of the same form, makes the thread that passes there stand still for ever instead.
#pragma once

namespace hone {
void CrashPoint(const char* name);
}  // namespace hone

#define HONE_CRASH_POINT(name) ::hone::CrashPoint(name)
