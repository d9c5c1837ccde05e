// Package eval scores a model on multiple-choice questions, as EleutherAI's
// lm-evaluation-harness does (github.com/EleutherAI/lm-evaluation-harness,
// read at commit 4e7e0d4): the answer is the choice that the model finds the
// likeliest after the context.
//
// [Read] takes two kinds of JSONL line. The first is a question by itself:
//
//	{"context": "The sky is", "choices": ["blue", "green"], "gold": 0}
//	{"question": "What is 2 + 3?", "choices": ["4", "5", "6"], "gold": "B"}
//
// context is the text that the choices continue. question is put into the form
// that the harness uses for ARC, "Question: …\nAnswer:", behind context if there
// is one. Between that and a choice comes a delimiter, a blank unless set
// otherwise. choices is a list of texts, or as in ARC {"text": […], "label": […]}.
// gold (or answer, answerKey, label) is the index of the right choice from 0, a
// list of indices of which each counts as right, a label, a letter from A on, or
// the choice's text. id is optional; without it the line's number stands for it.
//
// The second is what the harness itself writes with --log_samples: doc_id,
// target and arguments, {"gen_args_0": {"arg_0": context, "arg_1": continuation}, …}
// or, in older files, [[context, continuation], …]. So any task that the harness
// can run with one model can be run here with another, with the harness' own
// prompts and worked examples.
//
// # Measures
//
// acc takes the choice with the largest log-likelihood, acc_norm the largest
// per character, acc_bytes the largest per byte of UTF-8; these are the names
// and meanings of the harness, whose acc_norm counts characters. A choice's
// length does not count the delimiter. Of equals the first wins. The standard
// error is the standard deviation of the sample over √n.
//
// # Tokens
//
// White space at the end of the context moves to the continuation, then context
// and continuation are tokenized together, and what comes after the context's
// own tokens is scored. A context that would not fit loses tokens at its
// beginning, and is counted as cut.
package eval
