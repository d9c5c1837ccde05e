package tfevents

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Version is what the first event of a file says.
const Version = "brain.Event:2"

// Event is one message.
type Event struct {
	WallTime float64 // seconds since 1970
	Step     int64
	Version  string   // of the first event only
	Scalars  []Scalar // the summary
	// Start marks the start of a session at Step: TensorBoard drops what files of
	// earlier sessions say of Step and later.
	Start bool
}

// Scalar is a point of the curve called Tag.
type Scalar struct {
	Tag   string
	Value float32
}

// Field numbers of event.proto and summary.proto.
const (
	eventWallTime, eventStep, eventVersion, eventSummary, eventSession = 1, 2, 3, 5, 7
	summaryValue                                                       = 1
	valueTag, valueSimple                                              = 1, 2
	sessionStatus, sessionStart                                        = 1, 1
)

// The encodings of fields.
const (
	wireVarint, wire64, wireBytes, wire32 = 0, 1, 2, 5
)

func appendKey(b []byte, field, wire int) []byte {
	return binary.AppendUvarint(b, uint64(field<<3|wire))
}

func appendBytes(b []byte, field int, data []byte) []byte {
	b = binary.AppendUvarint(appendKey(b, field, wireBytes), uint64(len(data)))
	return append(b, data...)
}

// appendEvent adds the encoded message to b.
func appendEvent(b []byte, e *Event) []byte {
	b = binary.LittleEndian.AppendUint64(appendKey(b, eventWallTime, wire64), math.Float64bits(e.WallTime))
	if e.Step != 0 {
		b = binary.AppendUvarint(appendKey(b, eventStep, wireVarint), uint64(e.Step))
	}
	switch {
	case e.Version != "":
		return appendBytes(b, eventVersion, []byte(e.Version))
	case e.Start:
		return appendBytes(b, eventSession, binary.AppendUvarint(appendKey(nil, sessionStatus, wireVarint), sessionStart))
	case len(e.Scalars) == 0:
		return b
	}
	var summary, value []byte
	for _, s := range e.Scalars {
		value = appendBytes(value[:0], valueTag, []byte(s.Tag))
		value = binary.LittleEndian.AppendUint32(appendKey(value, valueSimple, wire32), math.Float32bits(s.Value))
		summary = appendBytes(summary, summaryValue, value)
	}
	return appendBytes(b, eventSummary, summary)
}

// field is one field of a message: num for numbers of all encodings, data for
// bytes.
type field struct {
	id, wire int
	num      uint64
	data     []byte
}

var errTorn = errors.New("the message ends inside a field")

// next takes the first field off a message.
func next(msg []byte) (f field, rest []byte, err error) {
	key, n := binary.Uvarint(msg)
	if n <= 0 || key>>3 == 0 || key>>3 > 1<<29-1 {
		return f, nil, errors.New("a field without a valid key")
	}
	f.id, f.wire, msg = int(key>>3), int(key&7), msg[n:]
	switch f.wire {
	case wireVarint:
		if f.num, n = binary.Uvarint(msg); n <= 0 {
			return f, nil, errTorn
		}
		return f, msg[n:], nil
	case wire64:
		if len(msg) < 8 {
			return f, nil, errTorn
		}
		f.num = binary.LittleEndian.Uint64(msg)
		return f, msg[8:], nil
	case wire32:
		if len(msg) < 4 {
			return f, nil, errTorn
		}
		f.num = uint64(binary.LittleEndian.Uint32(msg))
		return f, msg[4:], nil
	case wireBytes:
		size, n := binary.Uvarint(msg)
		if n <= 0 || size > uint64(len(msg)-n) {
			return f, nil, errTorn
		}
		msg = msg[n:]
		f.data = msg[:size]
		return f, msg[size:], nil
	}
	return f, nil, fmt.Errorf("field %d has the encoding %d, which is none", f.id, f.wire)
}

// fields calls do for each field of a message. Fields that it does not know are
// for it to skip, as protocol buffers demand.
func fields(msg []byte, do func(field) error) error {
	for len(msg) > 0 {
		f, rest, err := next(msg)
		if err == nil {
			err = do(f)
		}
		if err != nil {
			return err
		}
		msg = rest
	}
	return nil
}

// is reports whether f is the field id in an encoding.
func (f field) is(id, wire int) bool { return f.id == id && f.wire == wire }

func parseEvent(msg []byte) (e Event, err error) {
	err = fields(msg, func(f field) error {
		switch {
		case f.is(eventWallTime, wire64):
			e.WallTime = math.Float64frombits(f.num)
		case f.is(eventStep, wireVarint):
			e.Step = int64(f.num)
		case f.is(eventVersion, wireBytes):
			e.Version = string(f.data)
		case f.is(eventSession, wireBytes):
			return fields(f.data, func(f field) error {
				if f.is(sessionStatus, wireVarint) {
					e.Start = f.num == sessionStart
				}
				return nil
			})
		case f.is(eventSummary, wireBytes):
			return fields(f.data, func(f field) error {
				if !f.is(summaryValue, wireBytes) {
					return nil
				}
				s, ok, err := parseValue(f.data)
				if ok {
					e.Scalars = append(e.Scalars, s)
				}
				return err
			})
		}
		return nil
	})
	return e, err
}

// parseValue reads one value of a summary; ok is false for one that is no
// scalar.
func parseValue(msg []byte) (s Scalar, ok bool, err error) {
	err = fields(msg, func(f field) error {
		switch {
		case f.is(valueTag, wireBytes):
			s.Tag = string(f.data)
		case f.is(valueSimple, wire32):
			s.Value, ok = math.Float32frombits(uint32(f.num)), true
		}
		return nil
	})
	return s, ok, err
}
