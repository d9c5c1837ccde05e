//go:build !linux

package host

import "errors"

func systemMemory(int) ([]byte, func() error, error) {
	return nil, nil, errors.ErrUnsupported
}

func available() string { return "how much there is, is unknown" }
