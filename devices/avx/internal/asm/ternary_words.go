package asm

import "encoding/binary"

const (
	eachByte = 0x0101010101010101
	topBits  = 0x80 * eachByte
)

// unsigned adds one to each of eight codes, byte by byte: {-1, 0, 1} becomes
// {0, 1, 2}.
func unsigned(w uint64) uint64 { return w&^topBits + eachByte ^ w&topBits }

// packBlock packs the 16 codes of a row's block, eight to a word.
func packBlock(w0, w1 uint64) uint32 {
	u0, u1 := unsigned(w0)&(3*eachByte), unsigned(w1)&(3*eachByte)
	return uint32(u0) | uint32(u0>>32)<<2 | uint32(u1)<<4 | uint32(u1>>32)<<6
}

// packRow packs row r of a panel, which holds zeros there.
func packRow(panel []byte, row []int8, r int) {
	b := int8ToBytes(row)
	i := 0
	for ; i+BlockCols <= len(b); i += BlockCols {
		v := packBlock(binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:]))
		binary.LittleEndian.PutUint32(panel[i/BlockCols*blockBytes+4*r:], v)
	}
	for ; i < len(row); i++ {
		at := i/BlockCols*blockBytes + 4*r + i%4
		panel[at] |= byte(row[i]+1) & 3 << (2 * (i % BlockCols / 4))
	}
}

// NotTernary returns the index of the first code that is not -1, 0 or 1, or -1.
func NotTernary(codes []int8) int {
	b := int8ToBytes(codes)
	i := 0
	for ; i+8 <= len(b); i += 8 {
		u := unsigned(binary.LittleEndian.Uint64(b[i:]))
		if u&(0xfc*eachByte)|u&(u>>1)&eachByte != 0 {
			break
		}
	}
	for ; i < len(codes); i++ {
		if uint8(codes[i]+1) > 2 {
			return i
		}
	}
	return -1
}
