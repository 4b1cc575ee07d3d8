#!/bin/bash
# Makes the seeds of qcow2_fuzz with qemu-img and qemu-io: a byte that chooses the work, then a small qcow2 file.
#
#   tests/fuzz/make_qcow2_seeds.sh
set -euo pipefail
corpus=$(dirname "$0")/corpus/qcow2_fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$corpus"
image=$work/image

# NAME: keeps the image as a seed.
keep() {
    { printf '%b' "\\x$(printf '%s' "$1" | cksum | cut -c1-2)"; cat "$image"; } >"$corpus/$1"
}
# OPTIONS SIZE
create() { qemu-img create -q -f qcow2 -o "$1" "$image" "$2"; }
# COMMANDS...
io() {
    local commands=()
    for command in "$@"; do commands+=(-c "$command"); done
    qemu-io -f qcow2 "${commands[@]}" "$image" >/dev/null
}

create cluster_size=512 64k && keep empty
create cluster_size=512 20000 && keep odd_size
create cluster_size=512 64k && io "write -P 7 1k 700" && keep written
create cluster_size=512,compat=0.10 64k && io "write -P 7 1k 700" && keep version2
create cluster_size=512 64k && io "write -z 0 2k" "write -P 1 512 512" && keep zeros
create cluster_size=512,refcount_bits=1 32k && io "write -P 7 0 700" && keep refcount1
create cluster_size=512,refcount_bits=64 32k && io "write -P 7 0 700" && keep refcount64
create cluster_size=512,lazy_refcounts=on 64k && io "write -P 7 1k 700" && keep lazy
# A dirty image: the process is ended before it closes.
create cluster_size=512,lazy_refcounts=on 64k && { io "write -P 7 1k 700" "flush" "abort" || true; } 2>/dev/null && keep dirty
create cluster_size=512 64k && io "write -P 7 1k 700" && qemu-img snapshot -c a "$image" && keep snapshot
io "write -P 8 1k 512" && keep snapshot_written
create cluster_size=512 64k && io "write -c -P 7 1k 512" "write -c -P 8 2k 512" && keep zlib
create cluster_size=512,compression_type=zstd 64k && io "write -c -P 7 1k 512" "write -c -P 8 2k 512" && keep zstd
create cluster_size=512,preallocation=metadata 1k && keep metadata
qemu-img create -q -f raw "$work/base" 64k
qemu-img create -q -f qcow2 -o cluster_size=512 -b "$work/base" -F raw "$image" && keep backing
create cluster_size=512 64k && qemu-img bitmap --add "$image" b && keep bitmap
