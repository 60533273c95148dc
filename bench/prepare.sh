# What the benchmarks have in common: sourced from the root of the repository. Sets `binary` and `dir`.

# Tables alone go to standard output.
say() { printf '== %s\n' "$*" >&2; }
need() { command -v "$1" >/dev/null || { echo "missing: $1 ($2)" >&2; exit 1; }; }

need python3 "apt-get install python3 python3-venv"
binary=${BENCH_BINARY:-}
if [ -z "$binary" ]; then
  need cargo "install Rust 1.95 or newer, https://rustup.rs"
  need cc "apt-get install gcc libc6-dev"
  say release build
  cargo build --release --ignore-rust-version --locked --package umbra >&2
  binary=target/release/umbra
fi
binary=$(realpath "$binary")

# The environment of ./test, made in the same way.
requirements=testing/conformance/requirements.txt
if ! cmp -s "$requirements" .test-env/requirements.txt; then
  say Python environment
  rm -rf .test-env
  python3 -m venv .test-env || { echo "missing: Python's venv (apt-get install python3-venv)" >&2; exit 1; }
  .test-env/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2
  cp "$requirements" .test-env/requirements.txt
fi

# Nothing of this machine's credentials or proxies reaches a server or the generator.
for name in $(compgen -e | grep -iE '^(aws_|umbra_|tigris_|rclone_)|^(http|https|all|no)_proxy$' || true); do unset "$name"; done

# On the disk of the repository: the system's temporary directory may be memory, where flushing costs nothing.
mkdir -p target
dir=$(mktemp -d "$PWD/target/bench.XXXXXX")
