//go:build arm64 && !purego

#include "textflag.h"

// Element i of a group is added to lane i%4 of V(i/4). Groups: at least one.

// func dotF32NEON(s, w, x *float32, groups int)
TEXT ·dotF32NEON(SB), NOSPLIT, $0-32
	MOVD s+0(FP), R0
	MOVD w+8(FP), R1
	MOVD x+16(FP), R2
	MOVD groups+24(FP), R3
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R2), [V8.S4, V9.S4, V10.S4, V11.S4]
	WORD $0x4e28cc80 // fmla v0.4s, v4.4s, v8.4s
	WORD $0x4e29cca1 // fmla v1.4s, v5.4s, v9.4s
	WORD $0x4e2accc2 // fmla v2.4s, v6.4s, v10.4s
	WORD $0x4e2bcce3 // fmla v3.4s, v7.4s, v11.4s
	SUBS $1, R3
	BNE loop
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R0)
	RET

// func dotBF16NEON(s *float32, w *uint16, x *float32, groups int)
TEXT ·dotBF16NEON(SB), NOSPLIT, $0-32
	MOVD s+0(FP), R0
	MOVD w+8(FP), R1
	MOVD x+16(FP), R2
	MOVD groups+24(FP), R3
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16

loop:
	VLD1.P 32(R1), [V16.H8, V17.H8]
	VLD1.P 64(R2), [V8.S4, V9.S4, V10.S4, V11.S4]
	WORD $0x2e613a04 // shll v4.4s, v16.4h, #16
	WORD $0x6e613a05 // shll2 v5.4s, v16.8h, #16
	WORD $0x2e613a26 // shll v6.4s, v17.4h, #16
	WORD $0x6e613a27 // shll2 v7.4s, v17.8h, #16
	WORD $0x4e28cc80 // fmla v0.4s, v4.4s, v8.4s
	WORD $0x4e29cca1 // fmla v1.4s, v5.4s, v9.4s
	WORD $0x4e2accc2 // fmla v2.4s, v6.4s, v10.4s
	WORD $0x4e2bcce3 // fmla v3.4s, v7.4s, v11.4s
	SUBS $1, R3
	BNE loop
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R0)
	RET

// func dotF16NEON(s *float32, w *uint16, x *float32, groups int)
TEXT ·dotF16NEON(SB), NOSPLIT, $0-32
	MOVD s+0(FP), R0
	MOVD w+8(FP), R1
	MOVD x+16(FP), R2
	MOVD groups+24(FP), R3
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16

loop:
	VLD1.P 32(R1), [V16.H8, V17.H8]
	VLD1.P 64(R2), [V8.S4, V9.S4, V10.S4, V11.S4]
	WORD $0x0e217a04 // fcvtl v4.4s, v16.4h
	WORD $0x4e217a05 // fcvtl2 v5.4s, v16.8h
	WORD $0x0e217a26 // fcvtl v6.4s, v17.4h
	WORD $0x4e217a27 // fcvtl2 v7.4s, v17.8h
	WORD $0x4e28cc80 // fmla v0.4s, v4.4s, v8.4s
	WORD $0x4e29cca1 // fmla v1.4s, v5.4s, v9.4s
	WORD $0x4e2accc2 // fmla v2.4s, v6.4s, v10.4s
	WORD $0x4e2bcce3 // fmla v3.4s, v7.4s, v11.4s
	SUBS $1, R3
	BNE loop
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R0)
	RET
