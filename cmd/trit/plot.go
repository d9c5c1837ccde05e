package main

import (
	"fmt"

	"github.com/trit-ml/trit/internal/curves"
)

type plotCmd struct {
	Runs   []string `arg:"" help:"Run folders, or metrics.csv files, drawn over each other." name:"run"`
	Out    string   `help:"Picture to write; its name ends in .png or .svg." short:"o" default:"curves.png" placeholder:"FILE"`
	Panel  []string `help:"What to draw: ${panels}. The usual ones by default." placeholder:"NAME"`
	X      string   `help:"Horizontal axis: step, tokens, time or epoch." default:"step" enum:"step,tokens,time,epoch"`
	From   int      `help:"Leave out steps before this one."`
	Smooth float64  `help:"Steps over which the average of a noisy curve forgets by half; 0: a hundredth of the run, -1: no average."`
	Width  int      `help:"Width of the picture in pixels." default:"1200"`
}

func (plotCmd) Help() string {
	return `A run's curves are in its folder, in metrics.csv and weights.csv; a run under
way may be drawn too. One run shows its ternary weights layer by layer, several
their mean and the range over matrices.

Examples:
  trit plot runs/mine
  trit plot runs/a runs/b --panel loss,norm --x tokens -o both.svg
  trit plot runs/mine --panel zero,flips,drift,boundary,dead,frozen --from 500`
}

func (c *plotCmd) Run(e *env) error {
	var runs []*curves.Run
	for _, path := range c.Runs {
		r, err := curves.Open(path)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	curves.Names(runs, c.Runs)
	o := curves.Options{Panels: c.Panel, X: c.X, From: c.From, Smooth: c.Smooth, Width: c.Width}
	if err := curves.Write(c.Out, runs, o); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "wrote %s\n", c.Out)
	return nil
}
