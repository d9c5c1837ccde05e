package tokenizer_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/trit-ml/trit/models/tokenizer"
)

// Train a tokenizer on text, encode with it, and decode as ids arrive.
func Example() {
	trainer, err := tokenizer.NewTrainer(tokenizer.TrainOptions{
		VocabSize: 272,
		Split:     tokenizer.SplitLlama3,
		AddBOS:    true,
	})
	if err != nil {
		log.Fatal(err)
	}
	text := strings.Repeat("the cat, the hat and the café ", 3)
	if err := trainer.Feed(strings.NewReader(text)); err != nil {
		log.Fatal(err)
	}
	tok, err := trainer.Train()
	if err != nil {
		log.Fatal(err)
	}
	ids := tok.Encode(nil, "the café", tok.Defaults())
	for _, id := range ids {
		fmt.Printf("%d=%q ", id, tok.Token(id))
	}
	fmt.Printf("(%d tokens)\n", len(ids))

	stream := tok.Stream()
	for _, b := range []byte("é!") {
		fmt.Printf("%q ", stream.Push(int32(b))) // ids below 256 are bytes
	}
	fmt.Printf("%q\n", stream.Flush())
	// Output:
	// 270="<|begin_of_text|>" 257="the" 267=" caf" 265="é" (4 tokens)
	// "" "é" "!" ""
}

// Words shows how a rule cuts text before merging.
func ExampleSplit_Words() {
	fmt.Printf("%q\n", tokenizer.SplitLlama3.Words("I'LL take  12345 cats,\n\n thanks"))
	// Output: ["I" "'LL" " take" " " " " "123" "45" " cats" ",\n\n" " thanks"]
}

// Text that spells a special token stays text unless the caller allows it.
func ExampleTokenizer_Encode() {
	tok, err := tokenizer.NewBytes("<|end_of_text|>")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(tok.Encode(nil, "<|end_of_text|>")))
	fmt.Println(tok.Encode(nil, "<|end_of_text|>", tokenizer.Specials))
	fmt.Println(tok.Encode(nil, "hi", tokenizer.EOS))
	// Output:
	// 15
	// [256]
	// [104 105 256]
}
