package procevent

import (
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() { runtime.LockOSThread() } // the child's system calls are to be those of its first thread

// child does what the environment says.
func child() {
	switch os.Getenv(childMark) {
	case "kinds":
		childKinds()
	case "listen":
		childListen()
	}
}

// childKinds brings about an event of each kind that needs no other process,
// when its input is closed, and dies of a signal that dumps core.
func childKinds() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	name := append([]byte("golden"), 0)
	unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0)
	unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
	unix.RawSyscall(unix.SYS_SETRESGID, 65534, 65533, 65534)
	unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65533, 65534)
	signal.Reset()
	dfl := unix.SIGSEGV
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	resetSignal(dfl)
	unix.RawSyscall(unix.SYS_TGKILL, uintptr(os.Getpid()), uintptr(unix.Gettid()), uintptr(dfl))
	<-time.After(time.Minute)
}

// resetSignal gives a signal its default action behind the back of Go's runtime.
func resetSignal(sig syscall.Signal) {
	var act [64]byte // struct sigaction with SIG_DFL
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
}

// childListen subscribes, says so, and waits for its end by a signal.
func childListen() {
	c, err := Dial(background, nil)
	if err != nil {
		os.Stdout.WriteString("error " + err.Error() + "\n")
		os.Exit(1)
	}
	CloseOnSignal(c)
	os.Stdout.WriteString("listening\n")
	select {}
}
