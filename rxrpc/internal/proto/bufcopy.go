package proto

// CopyBuf returns a Buf of one packet with a copy of data: for who runs the protocol elsewhere. data is at most 64 KiB.
func CopyBuf(data []byte) *Buf {
	b := newBuf(len(data))
	b.data = append(b.data, data...)
	b.packets = 1
	return b
}
