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
// [Twins] trains both, for several seeds, and measures the gap.
//
// # Starting point
//
// Matrices are drawn from a normal distribution with Init.Std, those that write
// into the residual stream divided by √(number of them). Embeddings are larger,
// 1/√width by default: a tied head then starts with logits of about 1. Vectors
// (norm weights) are 1. Each parameter has its own generator, seeded with Config.Seed and its
// name.
//
// With Config.From, weights come from a checkpoint instead: one with masters, or a
// Llama model without quantization, which becomes ternary (Config.Convert). With
// Config.LoRA the checkpoint stays as it is, and may hold ternary codes; adapters
// are trained beside it. With Config.Distill a teacher runs in the same step.
// Training data are texts, or conversations of which the answers are learned
// (data.Config.Format).
//
// # What a run folder holds
//
//	run/config.json, model.safetensors, tokenizer.json …   the newest weights
//	run/checkpoints/step-00000200/model/                    a Hugging Face folder with f32 masters
//	                             /optimizer.safetensors     AdamW's moments
//	                             /train.json                configuration, step, data position, best
//	                             /manifest.json             sizes and SHA-256 of all of them
//	                             /statistics.safetensors    what measurements of the codes remember
//	run/metrics.csv, weights.csv, tensorboard/              curves, see below
//	run/data/                                               tokenized texts, made again if lost
//	run/lock                                                held by the process that trains
//
// A run with adapters has adapter_config.json and adapter_model.safetensors, in
// PEFT's form, in place of config.json and model.safetensors.
//
// So run/ itself opens as a model, in trit and in transformers. Tensors of more
// than Config.ShardBytes are cut into model-00001-of-00003.safetensors and so
// on, with Hugging Face's index beside them; the optimizer's likewise. Where
// several processes train together each writes the moments that it holds, to
// optimizer-rank-00001-of-00004.safetensors, and the manifest says which process
// wrote which file. A checkpoint may be resumed by another number of processes.
//
// # What holds for checkpoints
//
//   - A checkpoint appears by one rename when all its bytes are on the disk:
//     whenever the process is killed, the newest checkpoint is complete.
//   - Resuming from it gives the losses of the uninterrupted run, bit for bit, on
//     one device and thread count: all that a step depends on is in it, with the
//     position in the data; there is no other random state.
//   - It is written beside the training steps, from a copy of the state in memory
//     that is used again each time (12 bytes a parameter). At most one is being
//     written: one that falls due meanwhile is made of the first step after. With
//     Config.SaveInline the steps wait instead.
//   - The newest Config.Keep stay, and the Config.KeepBest of lowest validation
//     loss. Nothing is removed before a newer checkpoint is complete.
//   - One that cannot be written (a full disk, a read-only folder) is a [Warned]
//     event; training goes on, earlier checkpoints stay, and the next is tried
//     when it is due. At the start and at the end it is an error.
//   - The lock belongs to a process, not to a file: it is free when its holder has
//     died, however it died.
//
// # Curves
//
// metrics.csv has a row for each step, weights.csv one for each ternary matrix
// at every Config.StatsEvery-th step (see [WeightStats]), and tensorboard/ the
// same for TensorBoard. They are on the disk before the checkpoint of their step,
// and a resumed run first cuts off what they say of later steps: they always read
// as if the run had never stopped. One that cannot be written is a warning.
//
// # Numbers
//
// Losses are nats per token. Bits per byte divide by the bytes of the text that
// the tokens stand for, so they compare across tokenizers and with gzip.
package train
