package chat_test

import (
	"context"
	"fmt"
	"log"

	"github.com/trit-ml/trit/models/chat"
	"github.com/trit-ml/trit/models/tokenizer"
)

// A conversation of two turns; the second reads only what is new.
func ExampleFormat_Continue() {
	tok, err := tokenizer.NewBytes("<|eot_id|>")
	if err != nil {
		log.Fatal(err)
	}
	format := chat.NewFormat(chat.Default(), tok)
	ctx := context.Background()

	talk := []chat.Message{{Role: "user", Content: "What is <|eot_id|>?"}}
	fed, err := format.Encode(ctx, talk)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", tok.Decode(fed))

	answer := tok.Encode(nil, "A token.") // by the model
	fed = append(fed, answer...)
	talk = append(talk,
		chat.Message{Role: "assistant", Content: tok.Decode(answer)},
		chat.Message{Role: "user", Content: "Thanks"})
	keep, more, err := format.Continue(ctx, fed, talk)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v %q\n", keep == len(fed), tok.Decode(more))
	// Output:
	// "User: What is <|eot_id|>?<|eot_id|>Assistant: "
	// true "<|eot_id|>User: Thanks<|eot_id|>Assistant: "
}
