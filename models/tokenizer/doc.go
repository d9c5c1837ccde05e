// Package tokenizer turns text into token ids and ids into text.
//
// Two families are implemented, both exactly:
//
//   - byte-level BPE (GPT-2, Llama 3, and what [Trainer] trains): the text is cut
//     into words by a fixed rule ([Split]), each word's bytes are merged pair by
//     pair in the order of the merge list, so any bytes at all round-trip;
//   - SentencePiece BPE with scores (the "llama" model of GGUF files): characters
//     are merged by the best score, and unknown characters fall back to bytes.
//
// Tokenizers come from Hugging Face's tokenizer.json, from a tiktoken rank file
// (lines of base64 and rank), from the arrays of GGUF metadata ([New]), or from
// training. A file that asks for anything that is not implemented exactly is
// refused with the name of that thing; it is never approximated.
//
// Letters, numbers and white space are those of Go's unicode package (Unicode 15
// in Go 1.26). A library with a newer Unicode cuts differently at the characters
// that it has gained, such as the hieroglyphs added in Unicode 16.
//
// Text that looks like a special token is plain text unless [Specials] is given.
// A [Tokenizer] is immutable and safe for concurrent use.
package tokenizer
