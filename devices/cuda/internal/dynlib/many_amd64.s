//go:build cuda && linux

#include "textflag.h"

// many is called as a C function of one argument, a block of words: the function
// to call, then 16 arguments for it.
TEXT ·many(SB), NOSPLIT|NOFRAME, $0
	PUSHQ BP
	MOVQ  SP, BP
	PUSHQ BX
	SUBQ  $88, SP // ten arguments; the stack is aligned to 16
	MOVQ  DI, BX
	MOVQ  56(BX), AX
	MOVQ  AX, 0(SP)
	MOVQ  64(BX), AX
	MOVQ  AX, 8(SP)
	MOVQ  72(BX), AX
	MOVQ  AX, 16(SP)
	MOVQ  80(BX), AX
	MOVQ  AX, 24(SP)
	MOVQ  88(BX), AX
	MOVQ  AX, 32(SP)
	MOVQ  96(BX), AX
	MOVQ  AX, 40(SP)
	MOVQ  104(BX), AX
	MOVQ  AX, 48(SP)
	MOVQ  112(BX), AX
	MOVQ  AX, 56(SP)
	MOVQ  120(BX), AX
	MOVQ  AX, 64(SP)
	MOVQ  128(BX), AX
	MOVQ  AX, 72(SP)
	MOVQ  0(BX), R11
	MOVQ  8(BX), DI
	MOVQ  16(BX), SI
	MOVQ  24(BX), DX
	MOVQ  32(BX), CX
	MOVQ  40(BX), R8
	MOVQ  48(BX), R9
	XORL  AX, AX // no vector registers, should the function be variadic
	CALL  R11
	ADDQ  $88, SP
	POPQ  BX
	POPQ  BP
	RET

// manyAt is the address of many, which C calls.
DATA ·manyAt(SB)/8, $·many(SB)
GLOBL ·manyAt(SB), RODATA|NOPTR, $8
