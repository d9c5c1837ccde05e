//go:build arm64 && !purego

#include "textflag.h"

// Every kernel here takes groups of 16 elements, at least one.

// func rescaleNEON(y *float32, acc *int32, groups int, f float32)
TEXT ·rescaleNEON(SB), NOSPLIT, $0-28
	MOVD y+0(FP), R0
	MOVD acc+8(FP), R1
	MOVD groups+16(FP), R2
	FMOVS f+24(FP), F0
	VDUP V0.S[0], V0.S4

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	SUBS $1, R2
	BNE loop
	RET

// func rescaleAddNEON(y *float32, acc *int32, res *float32, groups int, f float32)
TEXT ·rescaleAddNEON(SB), NOSPLIT, $0-36
	MOVD y+0(FP), R0
	MOVD acc+8(FP), R1
	MOVD res+16(FP), R2
	MOVD groups+24(FP), R3
	FMOVS f+32(FP), F0
	VDUP V0.S[0], V0.S4

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R2), [V8.S4, V9.S4, V10.S4, V11.S4]
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0x4e28d484 // fadd v4.4s, v4.4s, v8.4s
	WORD $0x4e29d4a5 // fadd v5.4s, v5.4s, v9.4s
	WORD $0x4e2ad4c6 // fadd v6.4s, v6.4s, v10.4s
	WORD $0x4e2bd4e7 // fadd v7.4s, v7.4s, v11.4s
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	SUBS $1, R3
	BNE loop
	RET

// func absMaxNEON(x *float32, groups int) float32
TEXT ·absMaxNEON(SB), NOSPLIT, $0-20
	MOVD x+0(FP), R0
	MOVD groups+8(FP), R1
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16

loop:
	VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]
	WORD $0x4ea0f884 // fabs v4.4s, v4.4s
	WORD $0x4ea0f8a5 // fabs v5.4s, v5.4s
	WORD $0x4ea0f8c6 // fabs v6.4s, v6.4s
	WORD $0x4ea0f8e7 // fabs v7.4s, v7.4s
	WORD $0x4e24f400 // fmax v0.4s, v0.4s, v4.4s
	WORD $0x4e25f421 // fmax v1.4s, v1.4s, v5.4s
	WORD $0x4e26f442 // fmax v2.4s, v2.4s, v6.4s
	WORD $0x4e27f463 // fmax v3.4s, v3.4s, v7.4s
	SUBS $1, R1
	BNE loop
	WORD $0x4e21f400 // fmax v0.4s, v0.4s, v1.4s
	WORD $0x4e23f442 // fmax v2.4s, v2.4s, v3.4s
	WORD $0x4e22f400 // fmax v0.4s, v0.4s, v2.4s
	WORD $0x6e30f800 // fmaxv s0, v0.4s
	FMOVS F0, ret+16(FP)
	RET

// func quantizeNEON(q *int8, x *float32, groups int, scale float32)
// FCVTNS rounds half to even, makes 0 of NaN and saturates, as SQXTN does.
TEXT ·quantizeNEON(SB), NOSPLIT, $0-28
	MOVD q+0(FP), R0
	MOVD x+8(FP), R1
	MOVD groups+16(FP), R2
	FMOVS scale+24(FP), F0
	VDUP V0.S[0], V0.S4

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0x4e21a884 // fcvtns v4.4s, v4.4s
	WORD $0x4e21a8a5 // fcvtns v5.4s, v5.4s
	WORD $0x4e21a8c6 // fcvtns v6.4s, v6.4s
	WORD $0x4e21a8e7 // fcvtns v7.4s, v7.4s
	WORD $0x0e614890 // sqxtn v16.4h, v4.4s
	WORD $0x4e6148b0 // sqxtn2 v16.8h, v5.4s
	WORD $0x0e6148d1 // sqxtn v17.4h, v6.4s
	WORD $0x4e6148f1 // sqxtn2 v17.8h, v7.4s
	WORD $0x0e214a12 // sqxtn v18.8b, v16.8h
	WORD $0x4e214a32 // sqxtn2 v18.16b, v17.8h
	VST1.P [V18.B16], 16(R0)
	SUBS $1, R2
	BNE loop
	RET

// func sumSquaresNEON(s *float64, x *float32, groups int)
// Squares of float32 are exact in float64, so FMLA rounds as a separate sum does.
TEXT ·sumSquaresNEON(SB), NOSPLIT, $0-24
	MOVD s+0(FP), R0
	MOVD x+8(FP), R1
	MOVD groups+16(FP), R2
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16

loop:
	VLD1.P 64(R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	WORD $0x0e617a14 // fcvtl v20.2d, v16.2s
	WORD $0x4e617a15 // fcvtl2 v21.2d, v16.4s
	WORD $0x0e617a36 // fcvtl v22.2d, v17.2s
	WORD $0x4e617a37 // fcvtl2 v23.2d, v17.4s
	WORD $0x0e617a58 // fcvtl v24.2d, v18.2s
	WORD $0x4e617a59 // fcvtl2 v25.2d, v18.4s
	WORD $0x0e617a7a // fcvtl v26.2d, v19.2s
	WORD $0x4e617a7b // fcvtl2 v27.2d, v19.4s
	WORD $0x4e74ce80 // fmla v0.2d, v20.2d, v20.2d
	WORD $0x4e75cea1 // fmla v1.2d, v21.2d, v21.2d
	WORD $0x4e76cec2 // fmla v2.2d, v22.2d, v22.2d
	WORD $0x4e77cee3 // fmla v3.2d, v23.2d, v23.2d
	WORD $0x4e78cf04 // fmla v4.2d, v24.2d, v24.2d
	WORD $0x4e79cf25 // fmla v5.2d, v25.2d, v25.2d
	WORD $0x4e7acf46 // fmla v6.2d, v26.2d, v26.2d
	WORD $0x4e7bcf67 // fmla v7.2d, v27.2d, v27.2d
	SUBS $1, R2
	BNE loop
	VST1.P [V0.D2, V1.D2, V2.D2, V3.D2], 64(R0)
	VST1 [V4.D2, V5.D2, V6.D2, V7.D2], (R0)
	RET

// func scaleMulNEON(y, x, w *float32, groups int, r float32)
TEXT ·scaleMulNEON(SB), NOSPLIT, $0-36
	MOVD y+0(FP), R0
	MOVD x+8(FP), R1
	MOVD w+16(FP), R2
	MOVD groups+24(FP), R3
	FMOVS r+32(FP), F0
	VDUP V0.S[0], V0.S4

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R2), [V8.S4, V9.S4, V10.S4, V11.S4]
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0x6e28dc84 // fmul v4.4s, v4.4s, v8.4s
	WORD $0x6e29dca5 // fmul v5.4s, v5.4s, v9.4s
	WORD $0x6e2adcc6 // fmul v6.4s, v6.4s, v10.4s
	WORD $0x6e2bdce7 // fmul v7.4s, v7.4s, v11.4s
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	SUBS $1, R3
	BNE loop
	RET

// func scaleMulAbsMaxNEON(x, w *float32, groups int, r float32) float32
TEXT ·scaleMulAbsMaxNEON(SB), NOSPLIT, $0-36
	MOVD x+0(FP), R1
	MOVD w+8(FP), R2
	MOVD groups+16(FP), R3
	FMOVS r+24(FP), F19
	VDUP V19.S[0], V19.S4
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R2), [V8.S4, V9.S4, V10.S4, V11.S4]
	WORD $0x6e33dc84 // fmul v4.4s, v4.4s, v19.4s
	WORD $0x6e33dca5 // fmul v5.4s, v5.4s, v19.4s
	WORD $0x6e33dcc6 // fmul v6.4s, v6.4s, v19.4s
	WORD $0x6e33dce7 // fmul v7.4s, v7.4s, v19.4s
	WORD $0x6e28dc84 // fmul v4.4s, v4.4s, v8.4s
	WORD $0x6e29dca5 // fmul v5.4s, v5.4s, v9.4s
	WORD $0x6e2adcc6 // fmul v6.4s, v6.4s, v10.4s
	WORD $0x6e2bdce7 // fmul v7.4s, v7.4s, v11.4s
	WORD $0x4ea0f884 // fabs v4.4s, v4.4s
	WORD $0x4ea0f8a5 // fabs v5.4s, v5.4s
	WORD $0x4ea0f8c6 // fabs v6.4s, v6.4s
	WORD $0x4ea0f8e7 // fabs v7.4s, v7.4s
	WORD $0x4e24f400 // fmax v0.4s, v0.4s, v4.4s
	WORD $0x4e25f421 // fmax v1.4s, v1.4s, v5.4s
	WORD $0x4e26f442 // fmax v2.4s, v2.4s, v6.4s
	WORD $0x4e27f463 // fmax v3.4s, v3.4s, v7.4s
	SUBS $1, R3
	BNE loop
	WORD $0x4e21f400 // fmax v0.4s, v0.4s, v1.4s
	WORD $0x4e23f442 // fmax v2.4s, v2.4s, v3.4s
	WORD $0x4e22f400 // fmax v0.4s, v0.4s, v2.4s
	WORD $0x6e30f800 // fmaxv s0, v0.4s
	FMOVS F0, ret+32(FP)
	RET

// func scaleMulQuantizeNEON(q *int8, x, w *float32, groups int, r, scale float32)
TEXT ·scaleMulQuantizeNEON(SB), NOSPLIT, $0-40
	MOVD q+0(FP), R0
	MOVD x+8(FP), R1
	MOVD w+16(FP), R2
	MOVD groups+24(FP), R3
	FMOVS r+32(FP), F0
	VDUP V0.S[0], V0.S4
	FMOVS scale+36(FP), F1
	VDUP V1.S[0], V1.S4

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R2), [V8.S4, V9.S4, V10.S4, V11.S4]
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0x6e28dc84 // fmul v4.4s, v4.4s, v8.4s
	WORD $0x6e29dca5 // fmul v5.4s, v5.4s, v9.4s
	WORD $0x6e2adcc6 // fmul v6.4s, v6.4s, v10.4s
	WORD $0x6e2bdce7 // fmul v7.4s, v7.4s, v11.4s
	WORD $0x6e21dc84 // fmul v4.4s, v4.4s, v1.4s
	WORD $0x6e21dca5 // fmul v5.4s, v5.4s, v1.4s
	WORD $0x6e21dcc6 // fmul v6.4s, v6.4s, v1.4s
	WORD $0x6e21dce7 // fmul v7.4s, v7.4s, v1.4s
	WORD $0x4e21a884 // fcvtns v4.4s, v4.4s
	WORD $0x4e21a8a5 // fcvtns v5.4s, v5.4s
	WORD $0x4e21a8c6 // fcvtns v6.4s, v6.4s
	WORD $0x4e21a8e7 // fcvtns v7.4s, v7.4s
	WORD $0x0e614890 // sqxtn v16.4h, v4.4s
	WORD $0x4e6148b0 // sqxtn2 v16.8h, v5.4s
	WORD $0x0e6148d1 // sqxtn v17.4h, v6.4s
	WORD $0x4e6148f1 // sqxtn2 v17.8h, v7.4s
	WORD $0x0e214a12 // sqxtn v18.8b, v16.8h
	WORD $0x4e214a32 // sqxtn2 v18.16b, v17.8h
	VST1.P [V18.B16], 16(R0)
	SUBS $1, R3
	BNE loop
	RET

// func relu2MulNEON(y, gate, up *float32, groups int)
TEXT ·relu2MulNEON(SB), NOSPLIT, $0-32
	MOVD y+0(FP), R0
	MOVD gate+8(FP), R1
	MOVD up+16(FP), R2
	MOVD groups+24(FP), R3
	VEOR V0.B16, V0.B16, V0.B16

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R2), [V8.S4, V9.S4, V10.S4, V11.S4]
	WORD $0x4e20f484 // fmax v4.4s, v4.4s, v0.4s
	WORD $0x4e20f4a5 // fmax v5.4s, v5.4s, v0.4s
	WORD $0x4e20f4c6 // fmax v6.4s, v6.4s, v0.4s
	WORD $0x4e20f4e7 // fmax v7.4s, v7.4s, v0.4s
	WORD $0x6e24dc84 // fmul v4.4s, v4.4s, v4.4s
	WORD $0x6e25dca5 // fmul v5.4s, v5.4s, v5.4s
	WORD $0x6e26dcc6 // fmul v6.4s, v6.4s, v6.4s
	WORD $0x6e27dce7 // fmul v7.4s, v7.4s, v7.4s
	WORD $0x6e28dc84 // fmul v4.4s, v4.4s, v8.4s
	WORD $0x6e29dca5 // fmul v5.4s, v5.4s, v9.4s
	WORD $0x6e2adcc6 // fmul v6.4s, v6.4s, v10.4s
	WORD $0x6e2bdce7 // fmul v7.4s, v7.4s, v11.4s
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	SUBS $1, R3
	BNE loop
	RET
