#!/usr/bin/env bash
# Installs every system package that Hone needs on Debian 12 or Ubuntu 24.04. Safe to run again: does nothing where all is there.
#
#   deploy/install-deps.sh            # to build, run and test
#   deploy/install-deps.sh --dev      # also the linters and sanitizer runtimes (make lint, make fuzz)
#   deploy/install-deps.sh --pip      # also pip, which fetch-smollm2.sh downloads a model with
#   deploy/install-deps.sh --check    # say what is missing; exit 1 if anything is
#
# Needs root or sudo. The CUDA toolkit is optional and not installed by this script.
set -euo pipefail

build=(g++ cmake ninja-build ccache pkg-config
       libgrpc++-dev libgrpc-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libabsl-dev
       libssl-dev libsqlite3-dev libyaml-cpp-dev nlohmann-json3-dev libcpp-httplib-dev libpcre2-dev libutf8proc-dev libgtest-dev libgmock-dev
       python3 curl ca-certificates)
dev=(clang clang-format clang-tidy jq llvm python3-venv)

want=("${build[@]}")
check=
for arg in "$@"; do
  case "$arg" in
    --dev) want+=("${dev[@]}") ;;
    --pip) want+=(python3-pip) ;;
    --check) check=1 ;;
    -h|--help) sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) echo "install-deps.sh: unknown option '$arg' (see --help)" >&2; exit 2 ;;
  esac
done

command -v dpkg-query >/dev/null || {
  echo "install-deps.sh: this is not Debian or Ubuntu; install the equivalents of: ${want[*]}" >&2; exit 1; }

missing=()
for package in "${want[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ -n "$check" ]; then echo "missing: ${missing[*]}"; exit 1; fi

echo "installing: ${missing[*]}"
sudo=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "install-deps.sh: run as root, or install sudo" >&2; exit 1; }
  sudo=sudo
fi
export DEBIAN_FRONTEND=noninteractive
# A mirror may be slow or briefly away: try a few times before giving up.
for attempt in 1 2 3 4; do
  if $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then exit 0; fi
  echo "install-deps.sh: attempt $attempt failed; trying again" >&2
  sleep $((attempt * 5))
done
echo "install-deps.sh: could not install: ${missing[*]}" >&2
exit 1
