package tokenizer

// matcher finds added tokens in text: at each position the longest of them.
// It is a byte trie whose edges share one map; the root is a table, so text
// without a first byte of any token is skipped at a byte per nanosecond or so.
type matcher struct {
	root  [256]int32      // node after the first byte, 0 if none
	edges map[edge]int32  // node and byte to node
	ends  map[int32]int32 // node to token id
}

type edge struct {
	node int32
	b    byte
}

// newMatcher returns nil if there is nothing to find.
func newMatcher(tokens map[string]int32) *matcher {
	if len(tokens) == 0 {
		return nil
	}
	m := &matcher{edges: map[edge]int32{}, ends: map[int32]int32{}}
	nodes := int32(0)
	for text, id := range tokens {
		if text == "" {
			continue
		}
		node := m.root[text[0]]
		if node == 0 {
			nodes++
			node = nodes
			m.root[text[0]] = node
		}
		for i := 1; i < len(text); i++ {
			e := edge{node, text[i]}
			next := m.edges[e]
			if next == 0 {
				nodes++
				next = nodes
				m.edges[e] = next
			}
			node = next
		}
		m.ends[node] = id
	}
	return m
}

// find returns the first added token at or after i, or ok false.
func (m *matcher) find(s string, i int) (start, end int, id int32, ok bool) {
	for ; i < len(s); i++ {
		node := m.root[s[i]]
		if node == 0 {
			continue
		}
		for j := i + 1; ; j++ {
			if t, hit := m.ends[node]; hit {
				end, id, ok = j, t, true
			}
			if j == len(s) {
				break
			}
			if node = m.edges[edge{node, s[j]}]; node == 0 {
				break
			}
		}
		if ok {
			return i, end, id, true
		}
	}
	return 0, 0, 0, false
}
