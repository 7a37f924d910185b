// main() of every test program. A test runs in <build>/tests-work however it is started, so that what it writes by a
// relative name never lands among the sources.
#include <gmock/gmock.h>

#include <cstdio>
#include <filesystem>

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  std::error_code error;
  std::filesystem::current_path(HONE_TEST_FOLDER, error);
  if (error) {
    std::fprintf(stderr, "%s: %s\n", HONE_TEST_FOLDER, error.message().c_str());
    return 1;
  }
  return RUN_ALL_TESTS();
}
