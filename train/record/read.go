package record

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Data is what a file holds.
type Data struct {
	Columns []string
	Rows    [][]string // as many cells each as there are columns
	Steps   []int      // the first cell of each row
}

// ReadFile reads a file, also one that is being written: a last line without its
// end is left out.
func ReadFile(path string) (*Data, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	d, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// Parse reads the text of a file; errors name the line.
func Parse(text string) (*Data, error) {
	end := strings.LastIndexByte(text, '\n')
	if end < 0 {
		return nil, fmt.Errorf("no line with the names of columns")
	}
	d := &Data{}
	for i, line := range strings.Split(text[:end], "\n") {
		cells, err := split(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if i == 0 {
			if cells[0] != StepColumn {
				return nil, fmt.Errorf("line 1: the first column is %q, want %q", cells[0], StepColumn)
			}
			d.Columns = cells
			continue
		}
		if len(cells) != len(d.Columns) {
			return nil, fmt.Errorf("line %d: %d cells in %d columns", i+1, len(cells), len(d.Columns))
		}
		step, err := strconv.Atoi(cells[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		d.Rows, d.Steps = append(d.Rows, cells), append(d.Steps, step)
	}
	return d, nil
}

// Text is a column, false if there is none of that name.
func (d *Data) Text(column string) ([]string, bool) {
	at := slices.Index(d.Columns, column)
	if at < 0 {
		return nil, false
	}
	cells := make([]string, len(d.Rows))
	for i, r := range d.Rows {
		cells[i] = r[at]
	}
	return cells, true
}

// Numbers is a column as numbers; an empty cell, or one that is no number, is
// NaN.
func (d *Data) Numbers(column string) ([]float64, bool) {
	cells, ok := d.Text(column)
	vals := make([]float64, len(cells))
	for i, c := range cells {
		v, err := strconv.ParseFloat(c, 64)
		if err != nil {
			v = math.NaN()
		}
		vals[i] = v
	}
	return vals, ok
}
