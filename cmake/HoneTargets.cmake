# hone_library(NAME SRCS ... [DEPS ...]): static library hone_NAME with alias hone::NAME.
function(hone_library NAME)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_library(hone_${NAME} STATIC ${ARG_SRCS})
  add_library(hone::${NAME} ALIAS hone_${NAME})
  target_link_libraries(hone_${NAME} PUBLIC ${ARG_DEPS} PRIVATE hone_options)
  target_include_directories(hone_${NAME} PUBLIC ${PROJECT_SOURCE_DIR})
endfunction()

# What makes the thread sanitizer understand gRPC; part of every program that may speak it.
if(HONE_SANITIZE STREQUAL "thread")
  add_library(hone_tsan OBJECT ${PROJECT_SOURCE_DIR}/tests/tsan_abseil.cc)
  target_link_libraries(hone_tsan PRIVATE hone_options absl::synchronization)
  set(HONE_SANITIZER_OBJECTS $<TARGET_OBJECTS:hone_tsan>)
endif()

# hone_executable(NAME SRCS ... [DEPS ...]): a program in <build>/bin.
function(hone_executable NAME)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${NAME} ${ARG_SRCS} ${HONE_SANITIZER_OBJECTS})
  target_link_libraries(${NAME} PRIVATE ${ARG_DEPS} hone_options)
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/tests-work)
add_library(hone_test_main STATIC ${PROJECT_SOURCE_DIR}/tests/test_main.cc)
target_compile_definitions(hone_test_main PRIVATE HONE_TEST_FOLDER="${PROJECT_BINARY_DIR}/tests-work")
target_link_libraries(hone_test_main PRIVATE hone_options PUBLIC GTest::gmock)

# hone_test(NAME SRCS ... [DEPS ...] [LABEL unit|process|fault|parity] [TIMEOUT seconds]): a GoogleTest program, one ctest entry.
# Tests run in <build>/tests-work and find the sources through HONE_SOURCE_DIR and the programs through HONE_BIN_DIR.
function(hone_test NAME)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SRCS;DEPS" ${ARGN})
  add_executable(${NAME} ${ARG_SRCS} ${HONE_SANITIZER_OBJECTS})
  target_link_libraries(${NAME} PRIVATE ${ARG_DEPS} hone_test_main hone_options)
  target_compile_definitions(${NAME} PRIVATE
    HONE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" HONE_BIN_DIR="${PROJECT_BINARY_DIR}/bin")
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests-bin)
  add_test(NAME ${NAME} COMMAND ${NAME})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${NAME} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
  if(HONE_SANITIZE STREQUAL "thread")
    set_tests_properties(${NAME} PROPERTIES ENVIRONMENT
      "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp:halt_on_error=1:second_deadlock_stack=1:report_thread_leaks=0")
  endif()
endfunction()

# hone_benchmark(NAME SRCS ... [DEPS ...]): a program in <build>/bench-bin, never run by ctest.
function(hone_benchmark NAME)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${NAME} ${ARG_SRCS} ${HONE_SANITIZER_OBJECTS})
  target_link_libraries(${NAME} PRIVATE ${ARG_DEPS} hone_options)
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench-bin)
endfunction()

# hone_fuzzer(NAME SRCS ... [DEPS ...]): a libFuzzer program, only where HONE_FUZZ is on; target `fuzzers` builds all of them.
if(HONE_FUZZ)
  add_custom_target(fuzzers)
endif()
function(hone_fuzzer NAME)
  if(NOT HONE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${NAME} ${ARG_SRCS} ${HONE_SANITIZER_OBJECTS})
  target_link_libraries(${NAME} PRIVATE ${ARG_DEPS} hone_options -fsanitize=fuzzer)
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz-bin)
  add_dependencies(fuzzers ${NAME})
endfunction()
