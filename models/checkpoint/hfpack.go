package checkpoint

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/internal/twobit"
)

// Hugging Face packs four rows that lie out/4 apart into one: with R = out/4,
// byte [r, c] holds code+1 of rows r, R+r, 2R+r, 3R+r in column c, the first
// in the lowest bits (transformers/integrations/bitnet.py, pack_weights).

// unpackHF writes the codes [out, in] of packed bytes [out/4, in].
func unpackHF(codes []int8, packed []byte, out, in int) error {
	q := out / 4 * in
	if out%4 != 0 || len(packed) != q || len(codes) != 4*q {
		return fmt.Errorf("%d bytes do not hold %d×%d packed codes", len(packed), out, in)
	}
	if !twobit.Unpack(codes[:q], codes[q:2*q], codes[2*q:3*q], codes[3*q:], packed) {
		return errors.New("a packed byte holds the value 3, which is no ternary code; the file is damaged")
	}
	return nil
}

// packHF is the inverse of unpackHF.
func packHF(packed []byte, codes []int8, out, in int) error {
	q := out / 4 * in
	if out%4 != 0 {
		return fmt.Errorf("%d rows cannot be packed in fours", out)
	}
	if len(packed) != q || len(codes) != 4*q {
		return fmt.Errorf("%d codes do not fill %d×%d", len(codes), out, in)
	}
	if !twobit.Pack(packed, codes[:q], codes[q:2*q], codes[2*q:3*q], codes[3*q:]) {
		return errors.New("a code is not -1, 0 or 1")
	}
	return nil
}
