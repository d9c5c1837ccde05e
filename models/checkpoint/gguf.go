package checkpoint

import "errors"

type I2SOrder int

func openGGUF(dir folder, name string, opts []Option) (*Model, error) { return nil, errors.New("x") }
