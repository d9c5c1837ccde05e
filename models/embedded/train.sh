#!/bin/sh
# Trains the embedded model on a GPU, packs it and prints the figures of CARD.md.
# Takes the folder to work in and the GPU; six minutes on an H100.
set -eu
out=${1:?usage: train.sh FOLDER [DEVICE]}
device=${2:-cuda}
cd "$(dirname "$0")/../.."
mkdir -p "$out"
trit=$out/trit
CGO_ENABLED=0 go build -tags cuda -o "$trit" ./cmd/trit

"$trit" train --out "$out/run" --device "$device" --precision bf16 \
    --data "$(go env GOROOT)/src" --include '*.go' \
    --exclude 'cmd/**' --exclude 'vendor/**' --exclude '**/testdata/**' --holdout 0.02 \
    --preset micro --hidden 512 --ffn 1536 --layers 7 --heads 8 --kv-heads 4 --vocab 2048 \
    --rows 16 --window 512 --steps 40000 --lr 0.002 --dropout 0.1 --seed 1 \
    --validate-every 3334 --validate-windows 0 --stats-every 0 --tensorboard-every 0 --save-every 0 --keep 1
"$trit" convert "$out/run" "$out/packed" --to offline --float bf16 --rounding --best

"$trit" eval heldout "$out/run" --best --cat "$out/held.txt"
"$trit" eval heldout "$out/run" --model "$out/packed" --windows
"$trit" eval heldout "$out/run" --model "$out/packed"
for z in "gzip -9" "xz -9"; do
    echo "$z: $($z -c "$out/held.txt" | wc -c) of $(wc -c <"$out/held.txt") bytes"
done
