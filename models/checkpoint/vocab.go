package checkpoint

// Vocab is the tokenizer part of a GGUF file, as the file has it.
type Vocab struct {
	Model  string // tokenizer.ggml.model: "gpt2" is byte-level BPE, "llama" SentencePiece
	Pre    string // tokenizer.ggml.pre: the pre-tokenizer; often missing from BitNet files
	Tokens []string
	Scores []float32 // nil, or one per token
	Types  []int32   // nil, or one per token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
	Merges []string  // "left right", best first

	BOS, EOS, EOT, Unknown, Pad int // -1 if not stated

	AddBOS, AddEOS *bool // nil if not stated
	AddSpacePrefix *bool // nil if not stated; SentencePiece only
	ChatTemplate   string
}
