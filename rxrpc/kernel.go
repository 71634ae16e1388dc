package rxrpc

// A kernelCall is told of its call's news itself: they are not for Recvmsg.
type kernelCall struct{ notify func(*kernelCall) }

func (k *kernelCall) direct() bool { return k.notify != nil }
