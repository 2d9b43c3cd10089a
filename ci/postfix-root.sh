#!/bin/bash
# Builds a release of Postfix that no Debian has any more, for ci/interop.sh: what it takes to send mail, in a root
# folder for chroot. Needs a C compiler, make, m4 and the headers of OpenSSL and ICU.
#
#     ci/postfix-root.sh SOURCE DIR     SOURCE is the unpacked source, the folder that has `makedefs`; DIR is called
#                                       postfix-3.NN, and the folder it lies in is INTEROP_POSTFIX
set -euo pipefail

source=$(realpath "$1")
root=$2
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
. "$(dirname "$0")/packages.sh"

compile() {
    cp -a "$source/." "$build/postfix"
    make -C "$build/postfix" makefiles CCARGS='-DUSE_TLS -DNO_DB -DNO_NIS' AUXLIBS='-lssl -lcrypto'
    make -C "$build/postfix" -j "$(nproc)"
}

if ! compile >"$build/log" 2>&1; then
    tail -n 20 "$build/log"
    exit 1
fi

make_root "$root"
mkdir -p "$root/usr/lib/postfix/sbin"
cp "$build"/postfix/libexec/* "$root/usr/lib/postfix/sbin/"
cp "$build"/postfix/bin/* "$root/usr/sbin/"
# Each program brings the libraries it is linked with. What has none is a shell script, which nothing here runs.
for program in "$root"/usr/sbin/* "$root"/usr/lib/postfix/sbin/*; do
    ldd "$program" 2>/dev/null || rm "$program"
done | grep -oE '/[^ ]+\.so[^ ]*' | sort -u | xargs -I LIBRARY cp -L --parents LIBRARY "$root"
