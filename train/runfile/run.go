package runfile

import "github.com/trit-ml/trit/train"

// Run is run.yaml: the settings of a run, where it goes, and what a comparison
// with its unquantized twin adds.
type Run struct {
	Out string `json:"out" help:"Run folder; it opens as a model at any time." placeholder:"DIR"`
	train.Config
	Twin train.Twin `json:"twin" help:"What trit train --twin compares."`
}

// Default is a run with [train.Default].
func Default() Run { return Run{Config: train.Default()} }
