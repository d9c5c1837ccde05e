// Package train trains a declared model on a folder of text.
//
// A whole step (forward, backward, clipping, AdamW) is one compiled program;
// what changes from step to step, such as the learning rate, is an input.
//
//	cfg := train.Default()
//	cfg.Dir, cfg.Data.Path, cfg.Steps = "run", "texts", 2000
//	cfg.Model, _ = bitnet158.Preset("micro")
//	cfg.Device = ref.Device(ref.Options{})
//	t, err := train.New(cfg)             // or train.Resume("run", change)
//	err = t.Run(ctx, func(e train.Event) { fmt.Println(e) })
//
// [New] only checks the configuration. [Trainer.Run] reads the texts, makes or
// loads the tokenizer, compiles, and trains until the last step, an error, or
// until ctx is cancelled; then it writes a checkpoint and returns an error that
// wraps the context's. Everything worth showing arrives as an [Event].
//
// Any architecture trains: set Config.Declare to a function that declares it.
// Config.Plain trains the same declaration without quantization, the twin that
// a ternary model is measured against.
//
// # Starting point
//
// Matrices are drawn from a normal distribution with Init.Std, those that write
// into the residual stream divided by √(number of them). Embeddings are larger,
// 1/√width by default: a tied head then starts with logits of about 1. Vectors
// (norm weights) are 1. Each parameter has its own generator, seeded with Config.Seed and its
// name. With Config.From, weights come from a checkpoint with masters instead.
//
// # What a run folder holds
//
//	run/config.json, model.safetensors, tokenizer.json …   the newest weights
//	run/checkpoints/step-00000200/model/                    a Hugging Face folder with f32 masters
//	                             /optimizer.safetensors     AdamW's moments
//	                             /train.json                configuration, step, data position, best
//	                             /manifest.json             sizes and SHA-256 of all of them
//	run/data/                                               tokenized texts, made again if lost
//
// So run/ itself opens as a model, in trit and in transformers. A checkpoint
// appears by one rename when all its bytes are on the disk: whenever the process
// is killed, the newest checkpoint is complete, and resuming from it gives the
// losses of the uninterrupted run, bit for bit (on one device and thread count).
// The newest Config.Keep checkpoints stay, and the one with the best validation.
//
// # Numbers
//
// Losses are nats per token. Bits per byte divide by the bytes of the text that
// the tokens stand for, so they compare across tokenizers and with gzip.
package train
