package asm

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	wordLine   = regexp.MustCompile(`^\tWORD \$(0x[0-9a-f]{8}) // (.+)$`)
	objdumpOut = regexp.MustCompile(`^\s*[0-9a-f]+:\s+[0-9a-f]{8}\s+(.+)$`)
)

// TestEncodings disassembles every WORD of the assembly and compares with the
// instruction that stands beside it.
func TestEncodings(t *testing.T) {
	const objdump = "aarch64-linux-gnu-objdump"
	files, err := filepath.Glob("*_arm64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("no assembly here: %v", err)
	}
	var code []byte
	var want, where []string
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(src), "\n") {
			if !strings.Contains(line, "WORD") {
				continue
			}
			m := wordLine.FindStringSubmatch(strings.TrimRight(line, "\r"))
			if m == nil {
				t.Errorf("%s:%d: a WORD without its instruction: %s", file, i+1, line)
				continue
			}
			word, err := strconv.ParseUint(m[1], 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			code = binary.LittleEndian.AppendUint32(code, uint32(word))
			want, where = append(want, m[2]), append(where, file+":"+strconv.Itoa(i+1))
		}
	}
	if _, err := exec.LookPath(objdump); err != nil {
		t.Skipf("%d words not disassembled: %s is not installed (package binutils-aarch64-linux-gnu)", len(want), objdump)
	}
	bin := filepath.Join(t.TempDir(), "words.bin")
	if err := os.WriteFile(bin, code, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "aarch64", "-z", bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(string(out), "\n") {
		if m := objdumpOut.FindStringSubmatch(line); m != nil {
			got = append(got, strings.Join(strings.Fields(m[1]), " "))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d words, %d disassembled", len(want), len(got))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: the word is %q, the comment says %q", where[i], got[i], want[i])
		}
	}
}
