#!/usr/bin/env bash
# What the build needs from the system: looks, and where it may (root on a Debian) installs.
set -euo pipefail

missing=()
need() { # command, Debian package
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need cc build-essential
need make make
need pkg-config pkg-config
need python3 python3
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
pkg-config --exists openssl 2>/dev/null || missing+=(libssl-dev)
pkg-config --exists zlib 2>/dev/null || missing+=(zlib1g-dev)

# `prepare.sh kafka`: what the tests' Apache Kafka needs too. Where it cannot be installed,
# fetch-kafka.sh says what will not run.
if [ "${1:-}" = kafka ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  need java openjdk-17-jre-headless
  need mvn maven
fi

# `prepare.sh browser`: what the page's tests need. Where it cannot be installed they say what was not run.
if [ "${1:-}" = browser ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  need chromium chromium
  need chromedriver chromium-driver
  # Without any font a picture has no words.
  [ -n "$(find /usr/share/fonts -name '*.ttf' -print -quit 2>/dev/null)" ] || missing+=(fonts-dejavu-core)
fi

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "prepare: installing ${missing[*]}"
    apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}"
  else
    echo "prepare: missing: ${missing[*]} (Debian's names). Install them, for example:" >&2
    echo "  sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi

if ! command -v cargo >/dev/null 2>&1; then
  echo "prepare: no cargo. Install Rust by rustup (https://rustup.rs); rust-toolchain.toml names the version." >&2
  exit 1
fi
