// Package tfevents reads and writes TensorBoard's event files: TFRecord frames,
// each with an Event message in protocol buffer encoding. Of the messages it
// knows what curves need: scalars, and the mark of a session's start.
//
// Sources of the format: the frame is described in TensorFlow's
// core/lib/io/record_writer.h and its checksum in core/lib/hash/crc32c.h, the
// messages in core/util/event.proto and core/framework/summary.proto, their
// encoding at https://protobuf.dev/programming-guides/encoding.
package tfevents
