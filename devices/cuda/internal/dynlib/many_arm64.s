//go:build cuda && linux

#include "textflag.h"

// many is called as a C function of one argument, a block of words: the function
// to call, then 16 arguments for it.
TEXT ·many(SB), NOSPLIT|NOFRAME, $0
	SUB  $96, RSP
	STP  (R29, R30), 64(RSP)
	MOVD R19, 80(RSP)
	MOVD R0, R19
	MOVD 72(R19), R1
	MOVD R1, 0(RSP)
	MOVD 80(R19), R1
	MOVD R1, 8(RSP)
	MOVD 88(R19), R1
	MOVD R1, 16(RSP)
	MOVD 96(R19), R1
	MOVD R1, 24(RSP)
	MOVD 104(R19), R1
	MOVD R1, 32(RSP)
	MOVD 112(R19), R1
	MOVD R1, 40(RSP)
	MOVD 120(R19), R1
	MOVD R1, 48(RSP)
	MOVD 128(R19), R1
	MOVD R1, 56(RSP)
	MOVD 0(R19), R9
	MOVD 8(R19), R0
	MOVD 16(R19), R1
	MOVD 24(R19), R2
	MOVD 32(R19), R3
	MOVD 40(R19), R4
	MOVD 48(R19), R5
	MOVD 56(R19), R6
	MOVD 64(R19), R7
	CALL (R9)
	MOVD 80(RSP), R19
	LDP  64(RSP), (R29, R30)
	ADD  $96, RSP
	RET

// manyAt is the address of many, which C calls.
DATA ·manyAt(SB)/8, $·many(SB)
GLOBL ·manyAt(SB), RODATA|NOPTR, $8
