//go:build arm64 && !purego

#include "textflag.h"

// The kernels here read a panel of packed rows block by block: four vectors of
// four rows each. Shifting one right by 0, 2, 4 and 6 and keeping two bits gives
// the codes of four columns in each lane. See ternary_pack.go.

// func ternary1Dot(acc *int32, w *byte, q *int8, blocks, panels int, init int32)
// V0-V3 sums, V4 activations, V16-V19 packed rows, V20-V23 codes, V30 init, V31 mask.
TEXT ·ternary1Dot(SB), NOSPLIT, $0-44
	MOVD acc+0(FP), R0
	MOVD w+8(FP), R1
	MOVD q+16(FP), R2
	MOVD blocks+24(FP), R3
	MOVD panels+32(FP), R4
	MOVW init+40(FP), R5
	VMOVI $3, V31.B16
	VDUP R5, V30.S4

panel:
	VMOV V30.B16, V0.B16
	VMOV V30.B16, V1.B16
	VMOV V30.B16, V2.B16
	VMOV V30.B16, V3.B16
	MOVD R2, R6
	MOVD R3, R7

block:
	VLD1.P 16(R6), [V4.B16]
	VLD1.P 64(R1), [V16.B16, V17.B16, V18.B16, V19.B16]
	VAND V31.B16, V16.B16, V20.B16
	VAND V31.B16, V17.B16, V21.B16
	VAND V31.B16, V18.B16, V22.B16
	VAND V31.B16, V19.B16, V23.B16
	WORD $0x4f84e280 // sdot v0.4s, v20.16b, v4.4b[0]
	WORD $0x4f84e2a1 // sdot v1.4s, v21.16b, v4.4b[0]
	WORD $0x4f84e2c2 // sdot v2.4s, v22.16b, v4.4b[0]
	WORD $0x4f84e2e3 // sdot v3.4s, v23.16b, v4.4b[0]
	VUSHR $2, V16.B16, V20.B16
	VAND V31.B16, V20.B16, V20.B16
	VUSHR $2, V17.B16, V21.B16
	VAND V31.B16, V21.B16, V21.B16
	VUSHR $2, V18.B16, V22.B16
	VAND V31.B16, V22.B16, V22.B16
	VUSHR $2, V19.B16, V23.B16
	VAND V31.B16, V23.B16, V23.B16
	WORD $0x4fa4e280 // sdot v0.4s, v20.16b, v4.4b[1]
	WORD $0x4fa4e2a1 // sdot v1.4s, v21.16b, v4.4b[1]
	WORD $0x4fa4e2c2 // sdot v2.4s, v22.16b, v4.4b[1]
	WORD $0x4fa4e2e3 // sdot v3.4s, v23.16b, v4.4b[1]
	VUSHR $4, V16.B16, V20.B16
	VAND V31.B16, V20.B16, V20.B16
	VUSHR $4, V17.B16, V21.B16
	VAND V31.B16, V21.B16, V21.B16
	VUSHR $4, V18.B16, V22.B16
	VAND V31.B16, V22.B16, V22.B16
	VUSHR $4, V19.B16, V23.B16
	VAND V31.B16, V23.B16, V23.B16
	WORD $0x4f84ea80 // sdot v0.4s, v20.16b, v4.4b[2]
	WORD $0x4f84eaa1 // sdot v1.4s, v21.16b, v4.4b[2]
	WORD $0x4f84eac2 // sdot v2.4s, v22.16b, v4.4b[2]
	WORD $0x4f84eae3 // sdot v3.4s, v23.16b, v4.4b[2]
	VUSHR $6, V16.B16, V20.B16
	VUSHR $6, V17.B16, V21.B16
	VUSHR $6, V18.B16, V22.B16
	VUSHR $6, V19.B16, V23.B16
	WORD $0x4fa4ea80 // sdot v0.4s, v20.16b, v4.4b[3]
	WORD $0x4fa4eaa1 // sdot v1.4s, v21.16b, v4.4b[3]
	WORD $0x4fa4eac2 // sdot v2.4s, v22.16b, v4.4b[3]
	WORD $0x4fa4eae3 // sdot v3.4s, v23.16b, v4.4b[3]
	SUBS $1, R7
	BNE block
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS $1, R4
	BNE panel
	RET

// func ternary4Dot(acc *int32, ldacc int, w *byte, q *int8, ldq, blocks, panels int, init *int32)
// V0-V3 sums of the first token to V12-V15 of the fourth, V16-V19 activations,
// V20-V23 packed rows, V24-V27 codes, V31 mask.
TEXT ·ternary4Dot(SB), NOSPLIT, $0-64
	MOVD acc+0(FP), R0
	MOVD ldacc+8(FP), R1
	MOVD w+16(FP), R2
	MOVD q+24(FP), R3
	MOVD ldq+32(FP), R4
	MOVD blocks+40(FP), R5
	MOVD panels+48(FP), R6
	MOVD init+56(FP), R7
	LSL $2, R1
	ADD R0, R1, R8
	ADD R8, R1, R9
	ADD R9, R1, R10
	VMOVI $3, V31.B16

panel:
	MOVD R7, R11
	VLD1R.P 4(R11), [V0.S4]
	VLD1R.P 4(R11), [V4.S4]
	VLD1R.P 4(R11), [V8.S4]
	VLD1R.P 4(R11), [V12.S4]
	VMOV V0.B16, V1.B16
	VMOV V0.B16, V2.B16
	VMOV V0.B16, V3.B16
	VMOV V4.B16, V5.B16
	VMOV V4.B16, V6.B16
	VMOV V4.B16, V7.B16
	VMOV V8.B16, V9.B16
	VMOV V8.B16, V10.B16
	VMOV V8.B16, V11.B16
	VMOV V12.B16, V13.B16
	VMOV V12.B16, V14.B16
	VMOV V12.B16, V15.B16
	MOVD R3, R11
	ADD R11, R4, R12
	ADD R12, R4, R13
	ADD R13, R4, R14
	MOVD R5, R15

block:
	VLD1.P 16(R11), [V16.B16]
	VLD1.P 16(R12), [V17.B16]
	VLD1.P 16(R13), [V18.B16]
	VLD1.P 16(R14), [V19.B16]
	VLD1.P 64(R2), [V20.B16, V21.B16, V22.B16, V23.B16]

	// Rows 0 to 3.
	VAND V31.B16, V20.B16, V24.B16
	VUSHR $2, V20.B16, V25.B16
	VAND V31.B16, V25.B16, V25.B16
	VUSHR $4, V20.B16, V26.B16
	VAND V31.B16, V26.B16, V26.B16
	VUSHR $6, V20.B16, V27.B16
	WORD $0x4f90e300 // sdot v0.4s, v24.16b, v16.4b[0]
	WORD $0x4f91e304 // sdot v4.4s, v24.16b, v17.4b[0]
	WORD $0x4f92e308 // sdot v8.4s, v24.16b, v18.4b[0]
	WORD $0x4f93e30c // sdot v12.4s, v24.16b, v19.4b[0]
	WORD $0x4fb0e320 // sdot v0.4s, v25.16b, v16.4b[1]
	WORD $0x4fb1e324 // sdot v4.4s, v25.16b, v17.4b[1]
	WORD $0x4fb2e328 // sdot v8.4s, v25.16b, v18.4b[1]
	WORD $0x4fb3e32c // sdot v12.4s, v25.16b, v19.4b[1]
	WORD $0x4f90eb40 // sdot v0.4s, v26.16b, v16.4b[2]
	WORD $0x4f91eb44 // sdot v4.4s, v26.16b, v17.4b[2]
	WORD $0x4f92eb48 // sdot v8.4s, v26.16b, v18.4b[2]
	WORD $0x4f93eb4c // sdot v12.4s, v26.16b, v19.4b[2]
	WORD $0x4fb0eb60 // sdot v0.4s, v27.16b, v16.4b[3]
	WORD $0x4fb1eb64 // sdot v4.4s, v27.16b, v17.4b[3]
	WORD $0x4fb2eb68 // sdot v8.4s, v27.16b, v18.4b[3]
	WORD $0x4fb3eb6c // sdot v12.4s, v27.16b, v19.4b[3]

	// Rows 4 to 7.
	VAND V31.B16, V21.B16, V24.B16
	VUSHR $2, V21.B16, V25.B16
	VAND V31.B16, V25.B16, V25.B16
	VUSHR $4, V21.B16, V26.B16
	VAND V31.B16, V26.B16, V26.B16
	VUSHR $6, V21.B16, V27.B16
	WORD $0x4f90e301 // sdot v1.4s, v24.16b, v16.4b[0]
	WORD $0x4f91e305 // sdot v5.4s, v24.16b, v17.4b[0]
	WORD $0x4f92e309 // sdot v9.4s, v24.16b, v18.4b[0]
	WORD $0x4f93e30d // sdot v13.4s, v24.16b, v19.4b[0]
	WORD $0x4fb0e321 // sdot v1.4s, v25.16b, v16.4b[1]
	WORD $0x4fb1e325 // sdot v5.4s, v25.16b, v17.4b[1]
	WORD $0x4fb2e329 // sdot v9.4s, v25.16b, v18.4b[1]
	WORD $0x4fb3e32d // sdot v13.4s, v25.16b, v19.4b[1]
	WORD $0x4f90eb41 // sdot v1.4s, v26.16b, v16.4b[2]
	WORD $0x4f91eb45 // sdot v5.4s, v26.16b, v17.4b[2]
	WORD $0x4f92eb49 // sdot v9.4s, v26.16b, v18.4b[2]
	WORD $0x4f93eb4d // sdot v13.4s, v26.16b, v19.4b[2]
	WORD $0x4fb0eb61 // sdot v1.4s, v27.16b, v16.4b[3]
	WORD $0x4fb1eb65 // sdot v5.4s, v27.16b, v17.4b[3]
	WORD $0x4fb2eb69 // sdot v9.4s, v27.16b, v18.4b[3]
	WORD $0x4fb3eb6d // sdot v13.4s, v27.16b, v19.4b[3]

	// Rows 8 to 11.
	VAND V31.B16, V22.B16, V24.B16
	VUSHR $2, V22.B16, V25.B16
	VAND V31.B16, V25.B16, V25.B16
	VUSHR $4, V22.B16, V26.B16
	VAND V31.B16, V26.B16, V26.B16
	VUSHR $6, V22.B16, V27.B16
	WORD $0x4f90e302 // sdot v2.4s, v24.16b, v16.4b[0]
	WORD $0x4f91e306 // sdot v6.4s, v24.16b, v17.4b[0]
	WORD $0x4f92e30a // sdot v10.4s, v24.16b, v18.4b[0]
	WORD $0x4f93e30e // sdot v14.4s, v24.16b, v19.4b[0]
	WORD $0x4fb0e322 // sdot v2.4s, v25.16b, v16.4b[1]
	WORD $0x4fb1e326 // sdot v6.4s, v25.16b, v17.4b[1]
	WORD $0x4fb2e32a // sdot v10.4s, v25.16b, v18.4b[1]
	WORD $0x4fb3e32e // sdot v14.4s, v25.16b, v19.4b[1]
	WORD $0x4f90eb42 // sdot v2.4s, v26.16b, v16.4b[2]
	WORD $0x4f91eb46 // sdot v6.4s, v26.16b, v17.4b[2]
	WORD $0x4f92eb4a // sdot v10.4s, v26.16b, v18.4b[2]
	WORD $0x4f93eb4e // sdot v14.4s, v26.16b, v19.4b[2]
	WORD $0x4fb0eb62 // sdot v2.4s, v27.16b, v16.4b[3]
	WORD $0x4fb1eb66 // sdot v6.4s, v27.16b, v17.4b[3]
	WORD $0x4fb2eb6a // sdot v10.4s, v27.16b, v18.4b[3]
	WORD $0x4fb3eb6e // sdot v14.4s, v27.16b, v19.4b[3]

	// Rows 12 to 15.
	VAND V31.B16, V23.B16, V24.B16
	VUSHR $2, V23.B16, V25.B16
	VAND V31.B16, V25.B16, V25.B16
	VUSHR $4, V23.B16, V26.B16
	VAND V31.B16, V26.B16, V26.B16
	VUSHR $6, V23.B16, V27.B16
	WORD $0x4f90e303 // sdot v3.4s, v24.16b, v16.4b[0]
	WORD $0x4f91e307 // sdot v7.4s, v24.16b, v17.4b[0]
	WORD $0x4f92e30b // sdot v11.4s, v24.16b, v18.4b[0]
	WORD $0x4f93e30f // sdot v15.4s, v24.16b, v19.4b[0]
	WORD $0x4fb0e323 // sdot v3.4s, v25.16b, v16.4b[1]
	WORD $0x4fb1e327 // sdot v7.4s, v25.16b, v17.4b[1]
	WORD $0x4fb2e32b // sdot v11.4s, v25.16b, v18.4b[1]
	WORD $0x4fb3e32f // sdot v15.4s, v25.16b, v19.4b[1]
	WORD $0x4f90eb43 // sdot v3.4s, v26.16b, v16.4b[2]
	WORD $0x4f91eb47 // sdot v7.4s, v26.16b, v17.4b[2]
	WORD $0x4f92eb4b // sdot v11.4s, v26.16b, v18.4b[2]
	WORD $0x4f93eb4f // sdot v15.4s, v26.16b, v19.4b[2]
	WORD $0x4fb0eb63 // sdot v3.4s, v27.16b, v16.4b[3]
	WORD $0x4fb1eb67 // sdot v7.4s, v27.16b, v17.4b[3]
	WORD $0x4fb2eb6b // sdot v11.4s, v27.16b, v18.4b[3]
	WORD $0x4fb3eb6f // sdot v15.4s, v27.16b, v19.4b[3]

	SUBS $1, R15
	BNE block
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R8)
	VST1.P [V8.S4, V9.S4, V10.S4, V11.S4], 64(R9)
	VST1.P [V12.S4, V13.S4, V14.S4, V15.S4], 64(R10)
	SUBS $1, R6
	BNE panel
	RET
