#!/usr/bin/env bash
# A stand-in for docker.io/library/python:X.Y-slim where no registry can be reached: a minimal
# Debian of this machine's release, and this machine's Python in /usr/local, as in the true one.
#
#   tests/proofs/image/base.sh 3.11      needs Debian, root, podman, mmdebstrap, and PYTHON (python3.11)
set -euo pipefail
version=$1
base=docker.io/library/python:$version-slim
command -v podman >/dev/null || { echo "needs podman: apt install podman" >&2; exit 1; }
podman image exists "$base" && exit
command -v mmdebstrap >/dev/null || { echo "needs mmdebstrap: apt install mmdebstrap" >&2; exit 1; }

python=$("${PYTHON:-python$version}" -c 'import os, sys; print(os.path.realpath(sys.executable))')
prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
"$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" || {
  echo "$python is not Python $version: give one with PYTHON=" >&2
  exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
root=$scratch/root

# What the interpreter and its modules are linked to, by the packages that bring it.
libraries=$(find "$prefix/bin/python$version" "$prefix/lib/python$version/lib-dynload" -type f \
  ! -name '_tkinter*' -exec ldd {} + | awk '$3 ~ "^/(lib|usr)" { print $3 }' | sort -u)
packages=$(xargs -n1 realpath <<<"$libraries" | sed 's#.*/#*/#' | xargs dpkg -S | cut -d: -f1 | sort -u | paste -sd,)

mmdebstrap --quiet --variant=minbase --mode=root --include="ca-certificates,netbase,tzdata,$packages" \
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" \
  "$(find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.sources' -o -name 'sources.list' | tail -n 1)"
tar -C "$prefix" -cf - --exclude='test' --exclude='tests' --exclude='__pycache__' --exclude='*.a' \
  --exclude='_tkinter*' --exclude="lib/python$version/site-packages" \
  "bin/python$version" "lib/python$version" $(cd "$prefix" && ls -d lib/libpython* 2>/dev/null || true) \
  | tar -C "$root/usr/local" --no-same-owner -xf -
mkdir -p "$root/usr/local/lib/python$version/site-packages"
ln -s "python$version" "$root/usr/local/bin/python3"
ln -s python3 "$root/usr/local/bin/python"
chroot "$root" ldconfig
chroot "$root" python -m ensurepip >/dev/null 2>&1
tar -C "$root" --numeric-owner -cf - . | podman import --quiet \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' - "$base"
