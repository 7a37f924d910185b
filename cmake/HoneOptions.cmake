# One interface target carries every compile setting; third-party code never sees it.
set(HONE_SANITIZE "" CACHE STRING "Sanitizers for our code: 'address,undefined' or 'thread'; empty for none")
option(HONE_FUZZ "Build libFuzzer targets (needs clang)" OFF)

add_library(hone_options INTERFACE)
target_compile_features(hone_options INTERFACE cxx_std_20)
target_include_directories(hone_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(hone_options INTERFACE
  -Wall -Wextra -Werror -Wno-missing-field-initializers
  # The numerics contract (docs/numerics.md): the compiler never fuses or reorders floating-point operations by itself.
  -ffp-contract=off -fno-fast-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports false positives from these in inlined standard-library code at -O2.
  target_compile_options(hone_options INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
endif()
if(HONE_SANITIZE)
  target_compile_options(hone_options INTERFACE -fsanitize=${HONE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(hone_options INTERFACE -fsanitize=${HONE_SANITIZE})
  if(HONE_SANITIZE STREQUAL "thread")
    # With this macro Protobuf's headers give map fields another layout than the system's library has. For generated code too.
    add_compile_options(-U__SANITIZE_THREAD__)
  endif()
endif()
if(HONE_FUZZ)
  target_compile_options(hone_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
