#!/bin/sh
# Compiles trit.cu to trit.ptx with nvcc (12.0 or newer); run by go generate.
# The header records a hash of everything that the result depends on, which a
# test compares with the committed sources.
set -eu
cd "$(dirname "$0")"
export LC_ALL=C

out=${1:-trit.ptx}
tmp=$(mktemp)
trap 'rm -f "$tmp" "$tmp.cubin"' EXIT

nvcc -ptx -arch=compute_80 -O3 -o "$tmp" trit.cu

# PTX 8.0 (CUDA 12.0, driver 525) has all that these kernels use; ptxas must
# agree, or newer drivers would be asked for than are needed.
sed -i 's/^\.version .*/.version 8.0/' "$tmp"
for arch in sm_80 sm_90; do
    ptxas -arch=$arch -v -o "$tmp.cubin" "$tmp"
done

{
    echo "// trit CUDA kernels; made by build.sh, do not edit"
    echo "// sources: $(sha256sum build.sh ./*.cu ./*.cuh | sha256sum | cut -d' ' -f1)"
    echo "// compiler: $(nvcc --version | sed -n 's/.*release.*, V/nvcc /p')"
    echo "// text: $(grep -v '^//' "$tmp" | sha256sum | cut -d' ' -f1)"
    grep -v '^//' "$tmp"
} >"$out"
