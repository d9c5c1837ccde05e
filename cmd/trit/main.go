// Command trit trains, inspects and runs ternary (BitNet b1.58) language
// models.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/internal/curves"
	"github.com/trit-ml/trit/models/checkpoint"
)

// cli is every verb; each is a type of its own with a Run method.
type cli struct {
	I2SOrder string `name:"i2s-order" help:"Order of I2_S values in GGUF files that do not say: auto, x86, arm or rows." default:"auto" enum:"auto,x86,arm,rows"`

	Run      runCmd      `cmd:"" help:"Continue a text."`
	Train    trainCmd    `cmd:"" help:"Train a model on a folder of text files."`
	Plot     plotCmd     `cmd:"" help:"Draw the curves of training runs."`
	Dump     dumpCmd     `cmd:"" help:"Print a model's graph after any pass, as text, DOT or SVG."`
	Explain  explainCmd  `cmd:"" help:"Show the chosen kernels, every rejection, the memory plan and bytes per token."`
	Bench    benchCmd    `cmd:"" help:"Measure decode and prefill speed."`
	Chat     chatCmd     `cmd:"" help:"Talk to a model."`
	Batch    batchCmd    `cmd:"" help:"Answer a JSONL file of prompts, many at once."`
	Pull     pullCmd     `cmd:"" help:"Fetch a model from the hub into the cache."`
	Cache    cacheCmd    `cmd:"" help:"List or prune the hub's cache."`
	Logits   logitsCmd   `cmd:"" help:"Write the logits of given tokens to a file."`
	Eval     evalCmd     `cmd:"" help:"Score a model."`
	Tokenize tokenizeCmd `cmd:"" help:"Show the tokens of a text."`
	Inspect  inspectCmd  `cmd:"" help:"Show what a checkpoint holds; check all of it."`
	Doctor   doctorCmd   `cmd:"" help:"Show devices, features and measured limits of this machine."`
	Convert  convertCmd  `cmd:"" help:"Write a checkpoint in another form."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// env is what every verb may use.
type env struct {
	ctx      context.Context
	out, err io.Writer
	order    checkpoint.I2SOrder // of GGUF files that do not say
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// stoppedCode is the exit code after an interrupt.
const stoppedCode = 130

// exitCode is an error that has been reported; the process ends with it.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// run is main without the process: it parses args, runs the verb and returns
// the exit code.
func run(ctx context.Context, args []string, out, errw io.Writer) int {
	c := cli{Train: trainCmd{settings: newSettings()}}
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("trit"),
		kong.Description("Ternary (BitNet b1.58) language models: train, inspect, run."),
		kong.UsageOnError(),
		kong.Writers(out, errw),
		kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"presets": presetNames(), "forms": strings.Join(checkpoint.Forms(), ", "), "panels": strings.Join(curves.Panels(), ", "), "devices": strings.Join(auto.Names(), ", ") + "[:N]; auto is the best of this processor"},
	)
	if err != nil {
		fmt.Fprintln(errw, "trit:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintln(errw, "trit:", err)
		return 2
	}
	order, err := checkpoint.ParseI2SOrder(c.I2SOrder)
	if err != nil {
		fmt.Fprintln(errw, "trit:", err)
		return 2
	}
	if err := k.Run(&env{ctx, out, errw, order}); err != nil {
		if code := exitCode(0); errors.As(err, &code) {
			return int(code) // said already
		}
		if errors.Is(err, context.Canceled) {
			fmt.Fprintln(errw, "trit: stopped")
			return stoppedCode
		}
		fmt.Fprintln(errw, "trit:", err)
		return 1
	}
	return 0
}
