#!/bin/sh
# Builds the emulator of the CUDA driver, with all kernels of ../kernels in it:
#
#     sh build.sh OUT.so
#
# with clang++ or g++ (CXX). Kernels that did not change since the last time are
# taken from OUT.so.objects.
set -eu
export LC_ALL=C
[ $# = 1 ] || { echo "usage: sh build.sh OUT.so" >&2; exit 2; }
case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$(dirname "$0")"
here=$PWD

if [ -z "${CXX:-}" ]; then
    for c in clang++ clang++-19 clang++-18 clang++-17 g++; do
        if command -v $c >/dev/null; then CXX=$c; break; fi
    done
fi
[ -n "${CXX:-}" ] || { echo "no C++ compiler: install clang++ or g++" >&2; exit 1; }

flags="-std=c++17 -O2 -g1 -fPIC -fvisibility=hidden -U_FORTIFY_SOURCE -pthread -Wall"
# Kernels: what CUDA allows and C++ does not; a GPU's checks of alignment.
kernel="$flags -fwrapv -fno-strict-aliasing -fno-math-errno -ffp-contract=fast -Wno-unused -Wno-unknown-pragmas"
case $("$CXX" --version | head -1) in
*clang*) kernel="$kernel -fsanitize=alignment,bounds -fsanitize-trap=all -Wno-pass-failed" ;;
*) kernel="$kernel -fsanitize=alignment,bounds -fsanitize-undefined-trap-on-error" ;;
esac
# The conversion and fused operations of the host, where there are any.
case $(uname -m) in
x86_64) ! grep -q '\<fma\>' /proc/cpuinfo || kernel="$kernel -mavx2 -mfma -mf16c" ;;
esac

objects=$out.objects
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$objects" "$tmp/kernels"

# Without C linkage a kernel may have a name that the C library has too.
for f in ../kernels/*.cu ../kernels/*.cuh; do sed 's/extern "C" //' "$f" >"$tmp/kernels/${f##*/}"; done

jobs=
for f in ../kernels/*.cu; do
    name=$(basename "$f" .cu)
    case $name in *_sm90) [ ! -e "../kernels/${name%_sm90}.cu" ] || continue ;; esac
    {
        echo "#include \"host.h\""
        echo "namespace kernels_$name {"
        echo "#include \"$tmp/kernels/$name.cu\""
        echo "}"
        "$CXX" -E -P -w -x c++ -D__global__=@kernel -D'__launch_bounds__(...)=' "$tmp/kernels/$name.cu" | tr '\n' ' ' |
            grep -oE '@kernel +void +[A-Za-z0-9_]+' | while read -r _ _ k; do
            echo "static emulator::Registration register_$k(\"$k\", kernels_$name::$k);"
        done
    } >"$tmp/$name.cpp"
    jobs="$jobs $name"
done
for f in thread memory stream driver nccl cublaslt; do jobs="$jobs $f.cpp"; done

used=
i=0
for j in $jobs; do
    case $j in
    *.cpp) src=$here/$j opts=$flags ;;
    *) src=$tmp/$j.cpp opts=$kernel ;;
    esac
    sum=$({ echo "$CXX $opts"; "$CXX" --version; "$CXX" $opts -I"$here" -E -P "$src"; } | sha256sum | cut -c1-32)
    object=$objects/${j%.cpp}-$sum.o
    used="$used $object"
    [ ! -e "$object" ] || continue
    { "$CXX" $opts -I"$here" -c -o "$object.new.$$" "$src" && mv "$object.new.$$" "$object"; } &
    i=$((i + 1))
    [ $((i % 2)) != 0 ] || wait
done
wait
for o in $used; do [ -e "$o" ] || { echo "the build failed" >&2; exit 1; }; done
"$CXX" -shared -pthread -Wl,-soname,libcuda.so.1 -Wl,-z,defs -o "$out.new" $used
mv "$out.new" "$out"
# Objects of sources that are no more.
for o in "$objects"/*.o; do case " $used " in *" $o "*) ;; *) rm -f "$o" ;; esac; done
