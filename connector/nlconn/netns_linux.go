package nlconn

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vishvananda/netns"

	"github.com/cnbus/cnbus/connector"
)

// openNetNS opens a network namespace by name, path or "pid:N".
func openNetNS(spec string) (ns netns.NsHandle, err error) {
	switch pid, isPID := strings.CutPrefix(spec, "pid:"); {
	case isPID:
		n, perr := strconv.ParseUint(pid, 10, 31)
		if perr != nil || n == 0 {
			return netns.None(), fmt.Errorf("network namespace %q: no process id: %w", spec, connector.ErrInvalid)
		}
		ns, err = netns.GetFromPid(int(n))
	case strings.Contains(spec, "/"):
		ns, err = netns.GetFromPath(spec)
	default:
		ns, err = netns.GetFromName(spec)
	}
	if err != nil {
		return netns.None(), fmt.Errorf("network namespace %q: %w", spec, err)
	}
	return ns, nil
}
