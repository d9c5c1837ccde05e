package gguf

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// Type is a tensor's element type. The numbers are those of the files; where
// forks gave one number two meanings, [Open] decides by the architecture and
// the second meaning has a number of its own here that no file uses.
type Type uint32

// The types that files of BitNet models use, and TL2, whose number upstream
// llama.cpp gave to MXFP4.
const (
	F32   Type = 0
	F16   Type = 1
	Q4_0  Type = 2
	Q8_0  Type = 8
	Q6_K  Type = 14
	BF16  Type = 30
	TQ1_0 Type = 34
	TQ2_0 Type = 35
	I2_S  Type = 36
	TL1   Type = 38
	MXFP4 Type = 39
	TL2   Type = 1<<16 + 39
)

// layout is the storage of a type: blocks of values along a row.
type layout struct {
	name  string
	block int // values a block; 0 if the size cannot be told from the file
	bytes int // bytes a block
}

// layouts has every number in use by ggml, so that files can be listed even
// where a type cannot be read. Sizes: ggml-common.h.
var layouts = map[Type]layout{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, Q4_0: {"Q4_0", 32, 18}, 3: {"Q4_1", 32, 20},
	6: {"Q5_0", 32, 22}, 7: {"Q5_1", 32, 24}, Q8_0: {"Q8_0", 32, 34}, 9: {"Q8_1", 32, 36},
	10: {"Q2_K", 256, 84}, 11: {"Q3_K", 256, 110}, 12: {"Q4_K", 256, 144}, 13: {"Q5_K", 256, 176},
	Q6_K: {"Q6_K", 256, 210}, 15: {"Q8_K", 256, 292}, 16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74},
	18: {"IQ3_XXS", 256, 98}, 19: {"IQ1_S", 256, 50}, 20: {"IQ4_NL", 32, 18}, 21: {"IQ3_S", 256, 110},
	22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136}, 24: {"I8", 1, 1}, 25: {"I16", 1, 2},
	26: {"I32", 1, 4}, 27: {"I64", 1, 8}, 28: {"F64", 1, 8}, 29: {"IQ1_M", 256, 56}, BF16: {"BF16", 1, 2},
	TQ1_0: {"TQ1_0", 256, 54}, TQ2_0: {"TQ2_0", 256, 66},
	I2_S: {"I2_S", 4, 1}, // plus a tail, see size
	TL1:  {"TL1", 0, 0}, TL2: {"TL2", 0, 0}, MXFP4: {"MXFP4", 32, 17},
	// Types of ik_llama.cpp for BitNet.
	134: {"IQ1_BN", 0, 0}, 135: {"IQ2_BN", 0, 0},
}

func (t Type) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// i2sTail follows the packed codes of an I2_S tensor: the scale and filler.
const i2sTail = 32

// size returns the bytes of a tensor of the given extents, innermost last, or
// -1 if the type's size cannot be told.
func (t Type) size(dims []int) (int64, error) {
	l, ok := layouts[t]
	if !ok {
		return 0, fmt.Errorf("unknown type number %d", uint32(t))
	}
	if l.block == 0 {
		return -1, nil
	}
	n, err := graph.Count(dims)
	if err != nil {
		return 0, err
	}
	if t == I2_S {
		// One stream over the whole matrix, rows are not padded.
		if n%l.block != 0 {
			return 0, fmt.Errorf("%v values do not fill whole bytes of %s", dims, t)
		}
		return int64(n/l.block) + i2sTail, nil
	}
	if row := dims[len(dims)-1]; row%l.block != 0 {
		return 0, fmt.Errorf("rows of %d values are no whole number of %s blocks of %d", row, t, l.block)
	}
	return int64(n/l.block) * int64(l.bytes), nil
}

// Size is the number of bytes of a tensor, extents given outermost first.
func Size(t Type, dims []int) (int64, error) {
	if len(dims) == 0 {
		return 0, fmt.Errorf("%s without extents", t)
	}
	n, err := t.size(dims)
	if err == nil && n < 0 {
		err = fmt.Errorf("the size of %s depends on the program that wrote it", t)
	}
	return n, err
}
