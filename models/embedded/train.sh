#!/bin/sh
# Trains the embedded model and its unquantized twin, packs the model, and
# prints the figures of CARD.md. Takes the folder to work in; about 15 minutes
# on 8 cores for each of the two, hours on 2. Equal seeds and thread counts give
# equal bits.
set -eu
out=${1:?usage: train.sh FOLDER}
threads=${2:-8}
cd "$(dirname "$0")/../.."

train() {
    go run ./cmd/trit train --data "$(go env GOROOT)/src" --include '*.go' \
        --exclude 'cmd/**' --exclude 'vendor/**' --exclude '**/testdata/**' --holdout 0.02 \
        --preset micro --kv-heads 2 --vocab 2048 --rows 16 --window 256 --steps 3200 --lr 0.006 --seed 1 \
        --validate-every 0 --validate-windows 0 --save-every 500 --keep 1 --threads "$threads" "$@"
}

train --out "$out/ternary"
train --out "$out/twin" --plain
go run ./cmd/trit convert "$out/ternary" "$out/packed" --to offline --verify

go run ./cmd/trit eval heldout "$out/ternary" --cat "$out/held.txt"
go run ./cmd/trit eval heldout "$out/twin"
go run ./cmd/trit eval heldout "$out/ternary" --model "$out/packed"
for z in "gzip -9" "xz -9"; do
    echo "$z: $($z -c "$out/held.txt" | wc -c) of $(wc -c <"$out/held.txt") bytes"
done
