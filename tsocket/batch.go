package tsocket

// batchState is what a socket keeps between batches.
type batchState struct{}

func (b *batchState) init(*fdDgram) {}

func (b *batchState) next() ([]byte, Addr, bool) { return nil, Addr{}, false }
