# Installing Debian's packages; to be sourced.

# Installs those of the named packages that are missing. No daemon in them starts by itself.
install_packages() (
    missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || exit 0
    apt-get update -qq
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
)

# make_root DIR: the folders of a root folder for chroot, as Debian has them.
make_root() {
    local folder
    for folder in bin sbin lib lib64; do
        mkdir -p "$1/usr/$folder"
        ln -sfn "usr/$folder" "$1/$folder"
    done
    mkdir -p "$1/dev" "$1/proc" "$1/etc"
}

# unpack DIR SUITE PACKAGE…: another Debian's packages with all that they depend on, unpacked into DIR to be run
# in there by chroot; nothing is installed.
unpack() (
    dir=$1 suite=$2
    shift 2
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
    make_root "$dir"
    : >"$dir/apt/status"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' 'Created-By: Packages' | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$dir/apt/sources"
    options=(
        -qq -o Dir::Etc::SourceList="$dir/apt/sources" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State="$dir/apt" -o Dir::State::Lists="$dir/apt/lists" -o Dir::State::status="$dir/apt/status"
        -o Dir::Cache="$dir/apt/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none
    )
    apt-get "${options[@]}" update
    apt-get "${options[@]}" install -y --no-install-recommends --download-only "$@"
    for package in "$dir"/apt/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$dir"
    done
    rm -rf "$dir/apt"
)

# unpack_if_there DIR SUITE PACKAGE…: the same; without DIR, if that Debian cannot be had.
unpack_if_there() {
    local outcome
    # Not behind `if`, where the first step that fails would not be the last.
    set +e
    (
        set -e
        unpack "$@"
    )
    outcome=$?
    set -e
    if [ "$outcome" -ne 0 ]; then
        echo "cannot be had: $3 of Debian $2"
        rm -rf "$1"
    fi
}

# name_by_release DIR: an unpacked Postfix gets the name of its release, as postfix-3.11.
name_by_release() {
    [ -d "$1" ] || return 0
    local version
    version=$(chroot "$1" /usr/sbin/postconf -d -h mail_version 2>/dev/null)
    mv "$1" "${1%/*}/postfix-${version%.*}"
}
