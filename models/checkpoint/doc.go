// Package checkpoint turns model files into named tensors and back.
//
// [Open] reads a Hugging Face folder (config.json and safetensors, with float
// masters or packed ternary weights) or a GGUF file; the format is told by
// content. Whatever the file, tensors have the names of Hugging Face's
// BitNetForCausalLM, and the ternary projections look alike: [Linear] gives
// float masters where the file has them and ternary codes with one scale
// always. Everything is mapped and unpacked on demand, one tensor at a time.
//
// What cannot be read exactly is refused by Open, before any work, with the
// reason and the way out. What can be read but deserves a look is listed by
// [Model.Warnings].
package checkpoint
