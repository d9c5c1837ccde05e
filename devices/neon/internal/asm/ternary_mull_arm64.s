//go:build arm64 && !purego

#include "textflag.h"

// func ternary1Mull(acc *int32, w *byte, q *int8, blocks, panels int, init int32)
// For processors without SDOT: products of a block are added in 16 bits, at most
// 4·2·128 in a lane, and by pairs to 32. V4 activations, V5-V8 four of them in
// every lane, V9 codes, V10 and V11 products, V16-V19 packed rows, V20-V27 sums
// of pairs of columns, two vectors for four rows.
TEXT ·ternary1Mull(SB), NOSPLIT, $0-44
	MOVD acc+0(FP), R0
	MOVD w+8(FP), R1
	MOVD q+16(FP), R2
	MOVD blocks+24(FP), R3
	MOVD panels+32(FP), R4
	MOVW init+40(FP), R5
	VMOVI $3, V31.B16
	VDUP R5, V30.S4

panel:
	VEOR V20.B16, V20.B16, V20.B16
	VEOR V21.B16, V21.B16, V21.B16
	VEOR V22.B16, V22.B16, V22.B16
	VEOR V23.B16, V23.B16, V23.B16
	VEOR V24.B16, V24.B16, V24.B16
	VEOR V25.B16, V25.B16, V25.B16
	VEOR V26.B16, V26.B16, V26.B16
	VEOR V27.B16, V27.B16, V27.B16
	MOVD R2, R6
	MOVD R3, R7

block:
	VLD1.P 16(R6), [V4.B16]
	VLD1.P 64(R1), [V16.B16, V17.B16, V18.B16, V19.B16]
	VDUP V4.S[0], V5.S4
	VDUP V4.S[1], V6.S4
	VDUP V4.S[2], V7.S4
	VDUP V4.S[3], V8.S4

	// Rows 0 to 3.
	VAND V31.B16, V16.B16, V9.B16
	WORD $0x0e25c12a // smull v10.8h, v9.8b, v5.8b
	WORD $0x4e25c12b // smull2 v11.8h, v9.16b, v5.16b
	VUSHR $2, V16.B16, V9.B16
	VAND V31.B16, V9.B16, V9.B16
	WORD $0x0e26812a // smlal v10.8h, v9.8b, v6.8b
	WORD $0x4e26812b // smlal2 v11.8h, v9.16b, v6.16b
	VUSHR $4, V16.B16, V9.B16
	VAND V31.B16, V9.B16, V9.B16
	WORD $0x0e27812a // smlal v10.8h, v9.8b, v7.8b
	WORD $0x4e27812b // smlal2 v11.8h, v9.16b, v7.16b
	VUSHR $6, V16.B16, V9.B16
	WORD $0x0e28812a // smlal v10.8h, v9.8b, v8.8b
	WORD $0x4e28812b // smlal2 v11.8h, v9.16b, v8.16b
	WORD $0x4e606954 // sadalp v20.4s, v10.8h
	WORD $0x4e606975 // sadalp v21.4s, v11.8h

	// Rows 4 to 7.
	VAND V31.B16, V17.B16, V9.B16
	WORD $0x0e25c12a // smull v10.8h, v9.8b, v5.8b
	WORD $0x4e25c12b // smull2 v11.8h, v9.16b, v5.16b
	VUSHR $2, V17.B16, V9.B16
	VAND V31.B16, V9.B16, V9.B16
	WORD $0x0e26812a // smlal v10.8h, v9.8b, v6.8b
	WORD $0x4e26812b // smlal2 v11.8h, v9.16b, v6.16b
	VUSHR $4, V17.B16, V9.B16
	VAND V31.B16, V9.B16, V9.B16
	WORD $0x0e27812a // smlal v10.8h, v9.8b, v7.8b
	WORD $0x4e27812b // smlal2 v11.8h, v9.16b, v7.16b
	VUSHR $6, V17.B16, V9.B16
	WORD $0x0e28812a // smlal v10.8h, v9.8b, v8.8b
	WORD $0x4e28812b // smlal2 v11.8h, v9.16b, v8.16b
	WORD $0x4e606956 // sadalp v22.4s, v10.8h
	WORD $0x4e606977 // sadalp v23.4s, v11.8h

	// Rows 8 to 11.
	VAND V31.B16, V18.B16, V9.B16
	WORD $0x0e25c12a // smull v10.8h, v9.8b, v5.8b
	WORD $0x4e25c12b // smull2 v11.8h, v9.16b, v5.16b
	VUSHR $2, V18.B16, V9.B16
	VAND V31.B16, V9.B16, V9.B16
	WORD $0x0e26812a // smlal v10.8h, v9.8b, v6.8b
	WORD $0x4e26812b // smlal2 v11.8h, v9.16b, v6.16b
	VUSHR $4, V18.B16, V9.B16
	VAND V31.B16, V9.B16, V9.B16
	WORD $0x0e27812a // smlal v10.8h, v9.8b, v7.8b
	WORD $0x4e27812b // smlal2 v11.8h, v9.16b, v7.16b
	VUSHR $6, V18.B16, V9.B16
	WORD $0x0e28812a // smlal v10.8h, v9.8b, v8.8b
	WORD $0x4e28812b // smlal2 v11.8h, v9.16b, v8.16b
	WORD $0x4e606958 // sadalp v24.4s, v10.8h
	WORD $0x4e606979 // sadalp v25.4s, v11.8h

	// Rows 12 to 15.
	VAND V31.B16, V19.B16, V9.B16
	WORD $0x0e25c12a // smull v10.8h, v9.8b, v5.8b
	WORD $0x4e25c12b // smull2 v11.8h, v9.16b, v5.16b
	VUSHR $2, V19.B16, V9.B16
	VAND V31.B16, V9.B16, V9.B16
	WORD $0x0e26812a // smlal v10.8h, v9.8b, v6.8b
	WORD $0x4e26812b // smlal2 v11.8h, v9.16b, v6.16b
	VUSHR $4, V19.B16, V9.B16
	VAND V31.B16, V9.B16, V9.B16
	WORD $0x0e27812a // smlal v10.8h, v9.8b, v7.8b
	WORD $0x4e27812b // smlal2 v11.8h, v9.16b, v7.16b
	VUSHR $6, V19.B16, V9.B16
	WORD $0x0e28812a // smlal v10.8h, v9.8b, v8.8b
	WORD $0x4e28812b // smlal2 v11.8h, v9.16b, v8.16b
	WORD $0x4e60695a // sadalp v26.4s, v10.8h
	WORD $0x4e60697b // sadalp v27.4s, v11.8h

	SUBS $1, R7
	BNE block
	VADDP V21.S4, V20.S4, V0.S4
	VADD V30.S4, V0.S4, V0.S4
	VADDP V23.S4, V22.S4, V1.S4
	VADD V30.S4, V1.S4, V1.S4
	VADDP V25.S4, V24.S4, V2.S4
	VADD V30.S4, V2.S4, V2.S4
	VADDP V27.S4, V26.S4, V3.S4
	VADD V30.S4, V3.S4, V3.S4
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS $1, R4
	BNE panel
	RET
