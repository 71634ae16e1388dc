package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

// FuzzPolicy: a policy is refused as a whole, or says the same about everybody however often it is read.
func FuzzPolicy(f *testing.F) {
	const everything = `
[[rule]]
name = 'all'
uid = ['*']
register = ['*']
send = ['0x1-0x5:1', 'proc']
join = ['1:1', 'rxrpc']
publish = ['*']
[[rule]]
uid = [0, 'root']
gid = ['*']
sock_connect = ['tcp 192.0.2.0/24:80-89', 'unix @x*']
rx_call = ['*:7003 52']
rx_keys = ['add']
admin = true
[[limit]]
uid = ['*']
connections = 5
queued_bytes = 65536
[[history]]
group = '7'
messages = 10
durable = true
[[host]]
name = 'a'
uids = {5 = 6}
[[certificate]]
name = 'x'
subject = 'CN=x'
uid = 5
`
	_, err := ParsePolicy(everything)
	require.NoError(f, err)
	f.Add(everything)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(text)
		if err != nil {
			require.Nil(t, p)
			return
		}
		again, err := ParsePolicy(text)
		require.NoError(t, err)
		for _, uid := range []uint32{0, 5, 6, 1<<32 - 1} {
			cred := connector.Cred{UID: uid, GID: uid}
			require.Equal(t, p.Check(cred, []uint32{uid}), again.Check(cred, []uint32{uid}))
			require.Equal(t, p.CheckHost("a", cred), again.CheckHost("a", cred))
			p.HostCred("a", cred)
		}
	})
}
