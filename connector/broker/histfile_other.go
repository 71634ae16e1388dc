//go:build !linux

package broker

import "github.com/cnbus/cnbus/connector"

func createHist(string, uint32, int) (*histFile, error) { return nil, connector.ErrNotSupported }
func (f *histFile) adopt() error                        { return connector.ErrNotSupported }
func (f *histFile) unmap()                              {}
func (f *histFile) remove()                             {}
func (h *hub) loadHistories(string) error               { return connector.ErrNotSupported }
