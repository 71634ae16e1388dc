package broker

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// access reads "KEY KIND ADDRESS", "KEY ADDRESS SERVICE" or "rx_keys OP".
func access(t *testing.T, text string) Access {
	t.Helper()
	f := strings.Fields(text)
	for a := range actions {
		if a.String() != f[0] {
			continue
		}
		switch {
		case a == RxKey:
			return Access{Action: a, Key: f[1]}
		case a >= RxCall:
			n, err := parseNumbers(f[2], "service")
			require.NoError(t, err)
			return Access{Action: a, Addr: netip.MustParseAddrPort(f[1]), Service: n.first}
		}
		acc := Access{Action: a}
		for _, k := range kindWords {
			if k.word == f[1] {
				acc.Kind = k.kinds
			}
		}
		if acc.Kind&(TCP|UDP) != 0 {
			acc.Addr = netip.MustParseAddrPort(f[2])
		} else {
			acc.Path = f[2]
		}
		return acc
	}
	require.Fail(t, "no action", text)
	return Access{}
}

func TestAllow(t *testing.T) {
	p, err := ParsePolicy(`
[[rule]]
name         = "staff"
uid          = [1]
sock_connect = ["tcp 192.0.2.0/24:80-89", "udp *:53", "unix-stream /run/app/*", "unix /run/x.sock", "unix @pub*", "tcp 2001:db8::/32"]
sock_bind    = ["udp 127.0.0.1:1024-65535", "tcp [::1]:80"]
rx_call      = ["192.0.2.0/24:7000-7009 1-52", "[2001:db8::/32]:7003"]
rx_listen    = ["*:7001 1"]
rx_keys      = ["use", "list"]

[[rule]]
gid         = [40]
rx_call     = ["*"]

[[rule]]
name  = "root"
uid   = [0]
admin = true
`)
	require.NoError(t, err)
	for want, list := range map[bool]string{
		true: `
sock_connect tcp 192.0.2.1:80
sock_connect tcp 192.0.2.255:89
sock_connect tcp [::ffff:192.0.2.1]:80
sock_connect udp 203.0.113.1:53
sock_connect udp [2001:db8::1]:53
sock_connect tcp [2001:db8::1]:9
sock_connect tcp [2001:db8::1%eth0]:9
sock_connect unix-stream /run/app/a
sock_connect unix-stream /run/app/a/b
sock_connect unix-stream /run/x.sock
sock_connect unix-dgram /run/x.sock
sock_connect unix-stream @public
sock_bind udp 127.0.0.1:1024
sock_bind udp 127.0.0.1:0
sock_bind tcp [::1]:80
rx_call 192.0.2.1:7000 1
rx_call 192.0.2.1:7009 52
rx_call [2001:db8::1]:7003 65535
rx_listen 0.0.0.0:7001 1
rx_listen [::]:7001 1
rx_keys use
rx_keys list
`,
		false: `
sock_connect tcp 192.0.2.1:79
sock_connect tcp 192.0.2.1:90
sock_connect tcp 192.0.3.1:80
sock_connect tcp [::ffff:192.0.3.1]:80
sock_connect udp 192.0.2.1:80
sock_connect tcp 192.0.2.1:53
sock_connect unix-dgram /run/app/a
sock_connect unix-stream /run/app/../secret
sock_connect unix-stream /run/app/./../../etc
sock_connect unix-stream /run/x.sock2
sock_connect unix-stream run/x.sock
sock_connect unix-stream @private
sock_bind udp 0.0.0.0:1024
sock_bind udp 127.0.0.1:80
sock_bind tcp 127.0.0.1:8080
sock_bind tcp [::1]:0
rx_call 192.0.2.1:7010 1
rx_call 192.0.2.1:7000 53
rx_call 192.0.2.1:7000 0
rx_call 203.0.113.1:7000 1
rx_listen 0.0.0.0:7002 1
rx_listen 0.0.0.0:0 1
rx_keys add
`,
	} {
		for line := range strings.Lines(strings.TrimSpace(list)) {
			a := access(t, line)
			err := p.Allow(connector.Cred{UID: 1, GID: 1}, nil, a)
			assert.Equal(t, want, err == nil, "%s: %v", line, err)
			assert.NoError(t, p.Allow(connector.Cred{}, nil, a), "administrators may all")
			assert.Error(t, p.Allow(connector.Cred{UID: 2, GID: 2}, nil, a))
			assert.Equal(t, a.Action == RxCall, p.Allow(connector.Cred{UID: 2, GID: 2}, []uint32{7, 40}, a) == nil, "by group: %s", line)
		}
	}
	assert.Error(t, p.Allow(connector.Cred{UID: 1}, nil, Access{Action: SockConnect, Kind: UDP}), "no address is none that is allowed")
	assert.Error(t, p.Allow(connector.Cred{UID: 1}, nil, Access{Action: RxKey}))
}

// A refusal names what was wanted, by whom, and the rules that do not allow it.
func TestDeniedErrorNamesTheRules(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nname='everyone'\nuid=['*']\n[[rule]]\nuid=[5]\nrx_call=['*:7003']\n")
	require.NoError(t, err)
	err = p.Allow(connector.Cred{UID: 5}, nil, access(t, "rx_call 192.0.2.1:7000 52"))
	require.ErrorIs(t, err, connector.ErrPermission)
	assert.Equal(t, "rx_call 192.0.2.1:7000 52: no rx_call of rule everyone, rule 2 allows it to uid 5", err.Error())
	none, err := ParsePolicy("[[rule]]\nuid=[6]\n")
	require.NoError(t, err)
	err = none.Allow(connector.Cred{UID: 5}, nil, access(t, "sock_bind unix-dgram /run/x"))
	assert.EqualError(t, err, "sock_bind unix-dgram /run/x: no rule of the policy matches uid 5")
}

func TestDefaultPoliciesOfTheAgents(t *testing.T) {
	nobody := connector.Cred{UID: 4711, GID: 4711}
	for text, want := range map[string]bool{
		"sock_connect tcp 127.0.0.1:22":          true,
		"sock_connect udp [2001:db8::1]:53":      true,
		"sock_bind tcp 0.0.0.0:1024":             true,
		"sock_bind udp [::]:0":                   true,
		"sock_bind tcp 0.0.0.0:1023":             false,
		"sock_connect unix-stream /run/x.socket": false, // it would be taken for the broker
		"sock_bind unix-dgram /tmp/x":            false,
		"rx_call 192.0.2.1:7003 52":              true,
		"rx_listen 0.0.0.0:7001 1":               true,
		"rx_listen 0.0.0.0:700 1":                false,
		"rx_keys add":                            true,
	} {
		a := access(t, text)
		assert.Equal(t, want, SystemPolicy().Allow(nobody, nil, a) == nil, text)
		assert.Error(t, UserPolicy().Allow(nobody, nil, a), text)
		assert.NoError(t, UserPolicy().Allow(connector.Cred{UID: UserPolicy().self}, nil, a), text)
	}
}

// Whoever has the id of an agent is given what is meant for the agent.
func TestSystemPolicyKeepsTheIDsOfAgents(t *testing.T) {
	r := SystemPolicy().rightsOf(who{cred: connector.Cred{UID: 1000, GID: 1000}})
	for id, want := range map[cbid.ID]bool{
		cbid.RxRPC: false, cbid.TSocket: false, cbid.Broker: false, cbid.Proc: false,
		cbid.Make(cbid.ProcSiteIdx, 3): false, cbid.Make(cbid.RxRPCSiteIdx, 3): false, cbid.Make(cbid.TSocketSiteIdx, 3): false,
		cbid.CnTest: true, cbid.BusSock: true, cbid.Make(0x100, 1): true, cbid.Make(0x636f0000, 1): true,
	} {
		assert.Equal(t, want, r.mayRegister(id), id)
	}
}

func TestAccessWordsAtFault(t *testing.T) {
	for word, why := range map[string]string{
		"sock_connect = ['tcp']":                    "KIND ADDRESS",
		"sock_connect = ['tcp 1.2.3.4 80']":         "KIND ADDRESS",
		"sock_connect = ['sctp *']":                 "none of tcp, udp",
		"sock_connect = ['tcp example.com:80']":     "neither an address nor a prefix",
		"sock_connect = ['tcp 10.0.0.1/8']":         "10.0.0.0/8 is meant",
		"sock_connect = ['tcp ::ffff:10.0.0.1']":    "write the IPv4 address itself",
		"sock_connect = ['tcp fe80::1%eth0']":       "neither an address nor a prefix",
		"sock_connect = ['tcp [::1:80']":            "bracket",
		"sock_connect = ['tcp *:80-']":              "a port nor a range",
		"sock_connect = ['tcp *:90-80']":            "a port nor a range",
		"sock_connect = ['tcp *:65536']":            "a port nor a range",
		"sock_connect = ['unix run/x']":             "an absolute path",
		"sock_connect = ['unix /run/../x']":         "an absolute path",
		"sock_connect = ['unix /run/x*']":           "an absolute path",
		"sock_connect = ['unix @']":                 "an absolute path",
		"rx_call = ['*:7000 1 2']":                  "ADDRESS SERVICES",
		"rx_call = ['*:7000 vl']":                   "a service nor a range",
		"rx_listen = ['']":                          "ADDRESS SERVICES",
		"rx_keys = ['steal']":                       "none of use, add",
		"sock_connect = ['*']\nsock_bind = ['raw']": "sock_bind",
		"sock_listen = ['*']":                       "unknown key",
		"rx_call = '*'":                             "",
	} {
		_, err := ParsePolicy("[[rule]]\nuid=['*']\n" + word + "\n")
		if assert.Error(t, err, word) {
			assert.Contains(t, err.Error(), why, word)
		}
	}
}

// What clients of the agents were denied is counted, and a reload counts from then on.
func TestGate(t *testing.T) {
	var log strings.Builder
	p, err := ParsePolicy("[[rule]]\nname='net'\ngid=[40]\nsock_connect=['tcp *']\n")
	require.NoError(t, err)
	g := newGate(slog.New(slog.NewTextHandler(&log, nil)), p)
	who := connector.Cred{UID: 1, GID: 1, PID: 2}
	a := access(t, "sock_connect tcp 192.0.2.1:80")
	require.Error(t, g.allow(connector.From{Cred: who}, a, 1e9), "it is not connected: its groups are not known")
	g.enter(who, []uint32{40, 41})
	require.NoError(t, g.allow(connector.From{Cred: who}, a, 1e9))
	g.enter(who, []uint32{41, 42}) // it gave 40 up, and connected again
	require.Error(t, g.allow(connector.From{Cred: who}, a, 1e9))
	g.leave(who)
	require.Error(t, g.allow(connector.From{Cred: who}, a, 1e9))
	g.leave(who)
	g.leave(who)
	assert.Empty(t, g.known)
	assert.Equal(t, map[string]uint64{"sock_connect": 3}, g.counts())
	assert.Contains(t, log.String(), "denied by policy")

	g.reload(UserPolicy())
	require.NoError(t, g.allow(connector.From{Cred: connector.Cred{}}, a, 1e9))
	log.Reset()
	for range 2 * warnMax {
		_ = g.allow(connector.From{Cred: connector.Cred{UID: 9999}}, a, 5e9)
	}
	assert.Equal(t, warnMax, strings.Count(log.String(), "\n"), "a client cannot fill the log")
	_ = g.allow(connector.From{Cred: connector.Cred{UID: 9998}}, a, 6e9)
	assert.Contains(t, log.String(), "lines left out")
}

// FuzzAccessWord: what is read is printed so that it reads the same.
func FuzzAccessWord(f *testing.F) {
	for a, words := range map[Action][]string{
		SockConnect: {"tcp 192.0.2.0/24:80-89", "udp *", "unix /run/app/*", "unix-dgram @x", "tcp [2001:db8::/32]:443", "tcp ::1", "unix *"},
		RxCall:      {"192.0.2.1:7003 52", "*", "* 1-9", "[::1]:7000"},
		RxKey:       {"add"},
	} {
		for _, w := range words {
			f.Add(uint8(a), w)
		}
	}
	f.Fuzz(func(t *testing.T, a uint8, word string) {
		action := Action(a) % actions
		w, err := parseAccess(action, word)
		if err != nil {
			return
		}
		again, err := parseAccess(action, w.String())
		require.NoError(t, err, "%q as %q", word, w.String())
		require.Equal(t, w.String(), again.String())
		require.Equal(t, w, again)
	})
}
