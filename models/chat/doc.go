// Package chat turns a conversation into the tokens that a model was trained on.
//
// A model's file carries a template (Jinja) that writes a list of messages as
// one text. [Find] and [Parse] read it, [Default] is the one that BitNet b1.58
// 2B4T was published with, [Template.Render] applies it. A [Format] joins a
// template and a tokenizer: it encodes conversations, says where answers end,
// and continues a conversation whose beginning the model has already read.
//
// # Special tokens
//
// Special tokens come from the template only. Text inside a message that spells
// one, such as <|eot_id|>, is encoded as the characters it consists of, so what
// a user types cannot end a turn or begin another one. Such spellings, in
// whatever case, are broken by an invisible mark before rendering, and the mark
// is taken out again after the special tokens were found. Templates see the
// mark as one character more, which matters only to one that counts or compares
// such text. A template that takes a message apart and joins it in another order
// could still spell a special token.
//
// # Words across borders
//
// The text between two special tokens is encoded as a whole, as transformers
// does it: in "User: Hey" the blank belongs to the word " Hey". Microsoft's
// demonstration for GPUs encodes what comes from messages by itself, which gives
// other ids ("User", ":", " ", "Hey"); [Pieces] does that.
package chat
