// Package embedded holds the model that trit carries: a small ternary language
// model of Go source code, trained by trit itself. CARD.md says how.
package embedded

import (
	"embed"
	"io/fs"
)

// Name is what the model is called in output.
const Name = "trit-go"

//go:embed model
var files embed.FS

// FS returns the model's folder: config.json, model.safetensors (packed ternary
// weights) and tokenizer.json.
func FS() fs.FS {
	sub, err := fs.Sub(files, "model")
	if err != nil {
		return files // cannot happen: the path is a constant
	}
	return sub
}
