//go:build !linux

package tsbench

import "errors"

const linux = false

func pin() error                { return errors.ErrUnsupported }
func setSegment(_, _ int) error { return errors.ErrUnsupported }
func setPieces(int) error       { return errors.ErrUnsupported }
func forceRoom(int)             {}
