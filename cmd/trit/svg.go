package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"slices"

	"github.com/trit-ml/trit/graph"
)

// The picture's measures, in pixels.
const (
	svgRow    = 74 // from one layer to the next
	svgGap    = 24 // between boxes
	svgHeight = 38
	svgChar   = 6.6 // width of a monospace character at 11 px
	svgMargin = 20
)

// box is one node's place: Sugiyama's layered drawing, with the sources pulled
// down beside their first reader.
type box struct {
	n        *graph.Node
	lines    []string
	layer    int
	x, w     float64
	from, to []*box
	center   float64
}

// writeSVG draws g top to bottom.
func writeSVG(w io.Writer, g *graph.Graph) error {
	layers := layout(g)
	width, height := 0.0, float64(len(layers)*svgRow+2*svgMargin)
	for _, l := range layers {
		for _, b := range l {
			width = max(width, b.x+b.w+svgMargin)
		}
	}
	o := bufio.NewWriter(w)
	fmt.Fprintf(o, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="monospace" font-size="11">`+"\n", width, height)
	fmt.Fprintln(o, `<rect width="100%" height="100%" fill="white"/>`)
	y := func(layer int) float64 { return float64(svgMargin + layer*svgRow) }
	for _, l := range layers {
		for _, b := range l {
			for _, t := range b.to {
				x0, y0, x1, y1 := b.x+b.w/2, y(b.layer)+svgHeight, t.x+t.w/2, y(t.layer)
				mid := (y0 + y1) / 2
				fmt.Fprintf(o, `<path d="M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f" fill="none" stroke="#8a94a6"/>`+"\n", x0, y0, x0, mid, x1, mid, x1, y1)
			}
		}
	}
	for _, l := range layers {
		for _, b := range l {
			fmt.Fprintf(o, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="5" fill="%s" stroke="#5b6577"/>`+"\n", b.x, y(b.layer), b.w, svgHeight, fill(b.n))
			for i, s := range b.lines {
				color := []string{"#111", "#667"}[i]
				fmt.Fprintf(o, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="%s">%s</text>`+"\n", b.x+b.w/2, y(b.layer)+16+float64(i*14), color, html.EscapeString(s))
			}
		}
	}
	fmt.Fprintln(o, "</svg>")
	return o.Flush()
}

func fill(n *graph.Node) string {
	switch {
	case n.Op == graph.ParamOp.OpDef, n.Op == graph.ConstOp.OpDef:
		return "#e8eef7"
	case n.Op == graph.StateOp.OpDef:
		return "#f7efe0"
	case n.Op == graph.InputOp.OpDef:
		return "#f3e8f7"
	case n.Op.Body != nil:
		return "#e6f4e6"
	}
	return "#ffffff"
}

// layout assigns layers and x coordinates.
func layout(g *graph.Graph) [][]*box {
	boxes := map[*graph.Node]*box{}
	var all []*box
	depth := 0
	for _, n := range g.Nodes {
		b := &box{n: n, lines: []string{label(n), ""}}
		for i, t := range n.Out {
			if i > 0 {
				b.lines[1] += ", "
			}
			b.lines[1] += t.String()
		}
		b.w = svgChar*float64(max(len(b.lines[0]), len(b.lines[1]))) + 16
		for _, v := range n.In {
			p := boxes[v.Node()]
			if !slices.Contains(b.from, p) {
				b.from = append(b.from, p)
				p.to = append(p.to, b)
			}
			b.layer = max(b.layer, p.layer+1)
		}
		boxes[n] = b
		all = append(all, b)
		depth = max(depth, b.layer)
	}
	// A weight far above its only readers makes long lines.
	prep := g.Prep()
	for _, b := range slices.Backward(all) {
		if (prep[b.n] || len(b.from) == 0) && len(b.to) > 0 {
			first := depth
			for _, t := range b.to {
				first = min(first, t.layer)
			}
			b.layer = first - 1
		}
	}
	layers := make([][]*box, depth+1)
	for _, b := range all {
		layers[b.layer] = append(layers[b.layer], b)
	}
	place(layers)
	for sweep := range 8 {
		for i := range layers {
			l := layers[i]
			near := func(b *box) []*box { return b.from }
			if sweep%2 == 1 {
				l = layers[len(layers)-1-i]
				near = func(b *box) []*box { return b.to }
			}
			for _, b := range l {
				b.center = b.x + b.w/2
				if ns := near(b); len(ns) > 0 {
					b.center = 0
					for _, o := range ns {
						b.center += (o.x + o.w/2) / float64(len(ns))
					}
				}
			}
			slices.SortStableFunc(l, func(a, b *box) int {
				switch {
				case a.center < b.center:
					return -1
				case a.center > b.center:
					return 1
				}
				return 0
			})
			placeLayer(l, layers)
		}
	}
	return layers
}

// place centres each layer on the widest one.
func place(layers [][]*box) {
	for _, l := range layers {
		placeLayer(l, layers)
	}
}

func placeLayer(l []*box, layers [][]*box) {
	span := func(l []*box) float64 {
		s := -float64(svgGap)
		for _, b := range l {
			s += b.w + svgGap
		}
		return s
	}
	widest := 0.0
	for _, o := range layers {
		widest = max(widest, span(o))
	}
	x := svgMargin + (widest-span(l))/2
	for _, b := range l {
		b.x = x
		x += b.w + svgGap
	}
}
