// Package data turns a folder of text files into the token windows that
// training reads.
//
// [Scan] lists the files and holds some out for validation, by a hash of each
// file's relative path, so that the split does not change when files are added.
// [Corpus.Tokenize] writes their tokens, one separator in front of each
// document, to a cache file that is mapped from then on: no text and no token
// array has to fit into memory. A [Sampler] visits fixed-length windows in an
// order that is a keyed permutation, so its position is two integers.
package data
