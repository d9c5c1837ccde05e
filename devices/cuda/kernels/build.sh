#!/bin/sh
# Compiles each NAME.cu, or those named, to NAME.ptx with nvcc (12.4 or newer);
# run by go generate. Files named *_sm90.cu are for sm_90 alone. A header
# records a hash of everything that the result depends on, which a test compares
# with the committed sources.
#
# usage: sh build.sh [NAME ...]
set -eu
cd "$(dirname "$0")"
export LC_ALL=C

tmp=$(mktemp)
trap 'rm -f "$tmp" "$tmp.cubin" "$tmp.log"' EXIT

# sources prints $1 and all that it includes.
sources() {
    list=$1 todo=$1
    while [ -n "$todo" ]; do
        next=
        for f in $todo; do
            for h in $(sed -n 's/^#include "\(.*\)"/\1/p' "$f"); do
                case " $list " in *" $h "*) ;; *) list="$list $h" next="$next $h" ;; esac
            done
        done
        todo=$next
    done
    printf '%s\n' $list | sort
}

[ $# -gt 0 ] || set -- *.cu
for name; do
    name=$(basename "${name%.cu}")
    case $name in
    *_sm90) compute=compute_90a archs=sm_90a ;;
    *) compute=compute_80 archs="sm_80 sm_90" ;;
    esac
    nvcc -ptx -arch=$compute -O3 -o "$tmp" "$name.cu"

    # The lowest PTX version that has all this code uses, so that drivers as
    # old as possible accept it: 8.0 is CUDA 12.0, driver 525.
    for version in 8.0 8.1 8.2 8.3 8.4; do
        sed -i "s/^\.version .*/.version $version/" "$tmp"
        ok=1
        for arch in $archs; do
            ptxas -arch=$arch -v -o "$tmp.cubin" "$tmp" 2>"$tmp.log" || ok=0
            [ $ok = 0 ] || echo "$name $arch: $(grep -c 'Compiling entry' "$tmp.log") kernels, PTX $version"
            [ $ok = 0 ] || sed -n "/Compiling entry/s/.*function '\([^']*\)'.*/  \1:/p; /bytes stack/s/^ */    /p; /Used/s/^.*Used/    used/p" "$tmp.log"
        done
        [ $ok = 0 ] || break
    done
    [ $ok = 1 ] || { cat "$tmp.log" >&2; exit 1; }

    {
        echo "// trit CUDA kernels; made by build.sh, do not edit"
        echo "// sources: $(sha256sum build.sh $(sources "$name.cu") | sha256sum | cut -d' ' -f1)"
        echo "// compiler: $(nvcc --version | sed -n 's/.*release.*, V/nvcc /p')"
        echo "// text: $(grep -v '^//' "$tmp" | sha256sum | cut -d' ' -f1)"
        grep -v '^//' "$tmp"
    } >"$name.ptx"
done
