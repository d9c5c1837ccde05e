package checkpoint

import (
	"fmt"

	"github.com/trit-ml/trit/internal/gguf"
)

// ProbeConfig judges a config.json before the weights are there, so that an
// unsupported model is refused without downloading it.
func ProbeConfig(text []byte) (Config, error) {
	c, err := parseHFConfig(text, options{})
	if err != nil {
		return Config{}, fmt.Errorf("config.json: %w", err)
	}
	return c.Config, nil
}

// ProbeGGUF judges the first bytes of a GGUF file of size bytes. The error
// wraps io.ErrUnexpectedEOF if they do not hold the whole header, which with a
// vocabulary of 128 256 tokens has some 8 MB; call again with more.
func ProbeGGUF(prefix []byte, size int64) (Config, error) {
	h, err := gguf.ReadHeader(prefix, size)
	if err != nil {
		return Config{}, err
	}
	if err := checkTypes(h); err != nil {
		return Config{}, err
	}
	c, _, err := ggufConfig(h)
	return c, err
}

// checkTypes refuses what no amount of work could read, and says what could.
func checkTypes(h *gguf.Header) error {
	for _, t := range h.Tensors {
		switch {
		case t.Type == gguf.TL1 || t.Type == gguf.TL2:
			return fmt.Errorf("tensor %s is %s: its bytes are tiled for the kernels of the program that wrote the file, and the tile sizes are not in the file; convert the original model to i2_s instead", t.Name, t.Type)
		case t.Size < 0:
			return fmt.Errorf("tensor %s is %s, a type private to ik_llama.cpp; requantise the original model to i2_s, tq1_0 or tq2_0", t.Name, t.Type)
		case t.Type != gguf.I2_S && !gguf.CanDecode(t.Type):
			return fmt.Errorf("tensor %s is %s, which is not supported; supported are F32, F16, BF16, I2_S, TQ1_0, TQ2_0, Q8_0, Q6_K and Q4_0", t.Name, t.Type)
		}
	}
	return nil
}
