package tfevents

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame is the length of its data (8 bytes, little endian), the checksum of
// those 8 bytes, the data, and the data's checksum.
const (
	frameHead = 8 + 4
	frameTail = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is CRC-32C, rotated and shifted by a constant: a checksum of data that
// holds checksums itself would be weak.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// appendFrame adds data as one frame to dst.
func appendFrame(dst, data []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(data)))
	dst = binary.LittleEndian.AppendUint32(dst, masked(dst[at:]))
	dst = append(dst, data...)
	return binary.LittleEndian.AppendUint32(dst, masked(data))
}

// frame takes the first frame off file, where off is its place for messages. A
// file that ends inside the frame gives io.ErrUnexpectedEOF.
func frame(file []byte, off int) (data, rest []byte, err error) {
	if len(file) < frameHead {
		return nil, nil, fmt.Errorf("offset %d: %d bytes of a frame: %w", off, len(file), io.ErrUnexpectedEOF)
	}
	if got, want := binary.LittleEndian.Uint32(file[8:]), masked(file[:8]); got != want {
		return nil, nil, fmt.Errorf("offset %d: checksum of the length is %08x, want %08x", off, got, want)
	}
	n := binary.LittleEndian.Uint64(file)
	if n > uint64(len(file)) || int(n) > len(file)-frameHead-frameTail {
		return nil, nil, fmt.Errorf("offset %d: a frame of %d bytes, %d are left: %w", off, n, len(file)-frameHead, io.ErrUnexpectedEOF)
	}
	data, rest = file[frameHead:frameHead+n], file[frameHead+n:]
	if got, want := binary.LittleEndian.Uint32(rest), masked(data); got != want {
		return nil, nil, fmt.Errorf("offset %d: checksum of the data is %08x, want %08x", off, got, want)
	}
	return data, rest[frameTail:], nil
}
