package broker

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

const hostRules = `
[[host]]
name = "one"
uids = { 1000 = 1001, 1002 = "same", 0 = "nobody", "*" = "same" }
gids = { 5 = 6 }

[[host]]
name = ["two", "three"]
uids = "same"

[[host]]
name = "*"
uids = "nobody"

[[rule]]
name = "everywhere"
uid  = [1001]
send = ["1:1"]

[[rule]]
name = "those of two"
host = ["two"]
uid  = ["*"]
send = ["1:2"]
sock_connect = ["tcp *"]

[[rule]]
name = "our own"
host = ["self"]
uid  = ["*"]
gid  = [40]
register = ["*"]
send = ["*"]

[[rule]]
name = "others"
host = ["*"]
gid  = [6]
join = ["7:*"]
`

func TestWhoTheUsersOfOtherHostsAre(t *testing.T) {
	p, err := ParsePolicy(hostRules)
	require.NoError(t, err)
	for _, c := range []struct {
		host        string
		there, here connector.Cred
	}{
		{"one", connector.Cred{UID: 1000, GID: 5, PID: 77}, connector.Cred{UID: 1001, GID: 6}},
		{"one", connector.Cred{UID: 1002, GID: 7}, connector.Cred{UID: 1002, GID: 65534}},
		{"one", connector.Cred{UID: 0}, connector.Cred{UID: 65534, GID: 65534}},
		{"one", connector.Cred{UID: 3}, connector.Cred{UID: 3, GID: 65534}},
		{"two", connector.Cred{UID: 1000, GID: 5, PID: 77}, connector.Cred{UID: 1000, GID: 5, PID: 77}},
		{"three", connector.Cred{UID: 1}, connector.Cred{UID: 1}},
		{"four", connector.Cred{UID: 1000, GID: 5, PID: 77}, connector.Cred{UID: 65534, GID: 65534}},
		{"", connector.Cred{UID: 0}, connector.Cred{UID: 65534, GID: 65534}},
	} {
		got, ok := p.HostCred(c.host, c.there)
		assert.True(t, ok)
		assert.Equal(t, c.here, got, "%s %v", c.host, c.there)
	}
	_, ok := UserPolicy().HostCred("one", connector.Cred{})
	assert.False(t, ok, "without rules it is as the broker was joined")

	assert.Equal(t, []string{"everywhere"}, p.CheckHost("one", connector.Cred{UID: 1001}).Rules)
	v := p.CheckHost("two", connector.Cred{UID: 5, GID: 6})
	assert.Equal(t, []string{"those of two", "others"}, v.Rules)
	assert.Equal(t, []string{"1:2"}, v.Send)
	assert.Equal(t, []string{"our own"}, p.Check(connector.Cred{UID: 5, GID: 6}, nil).Rules)
	assert.Equal(t, []string{"others"}, p.CheckHost("", connector.Cred{UID: 5, GID: 6}).Rules, "of some other host")
	assert.False(t, p.CheckHost("one", connector.Cred{UID: 5, GID: 5}).Connect)
	a := access(t, "sock_connect tcp 192.0.2.1:80")
	require.NoError(t, p.AllowHost("two", connector.Cred{UID: 5}, a))
	require.ErrorIs(t, p.AllowHost("one", connector.Cred{UID: 5}, a), connector.ErrPermission)
	require.ErrorIs(t, p.Allow(connector.Cred{UID: 5}, nil, a), connector.ErrPermission)
}

func TestHostRulesAtFault(t *testing.T) {
	for _, c := range []struct{ text, why string }{
		{`name = "one"`, "uids is missing"},
		{`uids = "same"`, "name is missing"},
		{"name = \"\"\nuids = \"same\"", "name is missing"},
		{"name = 5\nuids = \"same\"", "no name of a host"},
		{"name = [\"a\", 5]\nuids = \"same\"", "no name of a host"},
		{"name = \"one\"\nuids = \"sane\"", `"sane" is none of`},
		{"name = \"one\"\nuids = 5", "5 is none of"},
		{"name = \"one\"\nuids = {root = 5}", `"root" is no number of another host`},
		{"name = \"one\"\nuids = {-1 = 5}", `"-1" is no number`},
		{"name = \"one\"\nuids = {4294967295 = 5}", "is no number of another host"},
		{"name = \"one\"\nuids = {1 = 4294967295}", "is no uid or gid"},
		{"name = \"one\"\nuids = {1 = \"*\"}", "1 = *"},
		{"name = \"one\"\nuids = {\"*\" = 5}", "everybody else is 5"},
		{"name = \"one\"\nuids = {1 = \"no-such-user-here\"}", "no-such-user-here"},
		{"name = \"one\"\nuids = \"same\"\ngids = \"different\"", "gids"},
		{"name = \"one\"\nuids = \"same\"\npids = \"same\"", "unknown key"},
	} {
		_, err := ParsePolicy("[[rule]]\nuid = [0]\n[[host]]\n" + c.text + "\n")
		assert.ErrorContains(t, err, c.why, c.text)
	}
}

// TestThePolicyOfAHostCountsForItsMessages: for unicast and groups, and a reload counts for what comes next.
func TestThePolicyOfAHostCountsForItsMessages(t *testing.T) {
	rules := func(host string) *Policy {
		p, err := ParsePolicy("[[rule]]\nhost = ['self']\nuid = ['*']\nadmin = true\n[[rule]]\nhost = ['" + host + "']\nuid = [1000]\nsend = ['0x123:*']\npublish = ['9:*']\n")
		require.NoError(t, err)
		return p
	}
	s := newSiteSim(t, 2, rules("host2"))
	a := s.hosts[0]
	agent := a.root()
	agent.add(id1, "agent")
	a.join(agent, 9)
	far := connector.SitePort(2, 5)
	agent.read()
	send := func(uid uint32) {
		t.Helper()
		m := msg(frame.Header{}, id1, 1, 2, "x")
		require.NoError(t, a.loop.Input(far, connector.Cred{UID: uid}, "host2", m))
		require.NoError(t, a.loop.Group(far, connector.Cred{UID: uid}, msg(frame.Header{Group: 9}, id1, 1, 2, "y")))
	}
	send(1000)
	got := agent.read()
	require.Len(t, got, 2)
	assert.Equal(t, uint32(1000), got[0].UID)
	// Another user by now: as the mapping of the policy may have changed.
	send(1001)
	agent.none()
	assert.Len(t, a.h.site.proxies, 1)
	assert.Equal(t, 1, a.h.accounts[1001].proxies)
	assert.NotContains(t, a.h.accounts, uint32(1000))
	// Unicast among the users of one uid needs no right but to be here.
	require.NoError(t, a.loop.Input(far, connector.Cred{UID: 0}, "host2", msg(frame.Header{Port: agent.c.port}, id1, 1, 2, "x")))
	agent.none()
	send(1000)
	require.Len(t, agent.read(), 2)
	a.h.reload(rules("host3"))
	send(1000)
	agent.none()
	a.h.reload(rules("*"))
	send(1000)
	require.Len(t, agent.read(), 2)
}

// TestAProcessOfAnotherHostHasNotTheGroupsOfOneHere: that it has the same numbers says nothing.
func TestAProcessOfAnotherHostHasNotTheGroupsOfOneHere(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nname='net'\ngid=[40]\nsock_connect=['tcp *']\n[[rule]]\nhost=['two']\nuid=[1]\nsock_connect=['udp *']\n")
	require.NoError(t, err)
	g := newGate(slog.New(slog.DiscardHandler), p)
	cred := connector.Cred{UID: 1, GID: 1, PID: 2}
	g.enter(cred, []uint32{40})
	g.join(1)
	tcp, udp := access(t, "sock_connect tcp 192.0.2.1:80"), access(t, "sock_connect udp 192.0.2.1:80")
	for _, port := range []uint32{5, connector.SitePort(1, 5)} {
		require.NoError(t, g.allow(connector.From{Cred: cred, Port: port}, tcp, 1e9))
		require.Error(t, g.allow(connector.From{Cred: cred, Port: port}, udp, 1e9))
	}
	far := connector.From{Cred: cred, Port: connector.SitePort(2, 5)}
	require.Error(t, g.allow(far, tcp, 1e9))
	require.Error(t, g.allow(far, udp, 1e9), "its name is not known")
	g.hostUp(2, "two")
	require.Error(t, g.allow(far, tcp, 1e9))
	require.NoError(t, g.allow(far, udp, 1e9))
	g.hostUp(2, "")
	require.Error(t, g.allow(far, udp, 1e9))
}
