package natsbridge

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

// Whatever is given as URLs of NATS is taken or refused, and of a name, password or token that is taken nothing is shown.
func FuzzURLs(f *testing.F) {
	f.Add("nats://a:1,tls://b", "pw")
	f.Add(" a:4222 , wss://b/nats?x#y", "12/34")
	f.Add("nats://me:pw@[::1]:4222", "4711?a")
	f.Add("nats:me:pw@a://b", "1#@")
	f.Add("nats://%41%:1", "a%2Fb@c")
	f.Fuzz(func(t *testing.T, list, secret string) {
		shown := hideSecrets(list)
		require.Equal(t, strings.Count(list, ","), strings.Count(shown, ","))
		if err := checkURLs(list); err != nil {
			require.ErrorIs(t, err, connector.ErrInvalid)
		} else {
			require.NoError(t, checkURLs(shown), "%q shown as %q", list, shown)
			require.Equal(t, shown, hideSecrets(shown))
			for s := range strings.SplitSeq(shown, ",") {
				u, err := parseURL(s)
				require.NoError(t, err)
				require.Nil(t, u.User)
			}
		}
		if strings.Contains(secret, ",") {
			return // a list: what stands before it is the URL of a host
		}
		for _, list := range []string{"nats://me:" + secret + "@b:1", "nats://" + secret + "@b:1"} {
			if checkURLs(list) == nil {
				require.Equal(t, "nats://b:1", hideSecrets(list), list)
			}
		}
	})
}

// Whatever the store answers to a message, the message has a place, or there is a reason why not.
func FuzzPubAck(f *testing.F) {
	f.Add([]byte(`{"stream":"S","seq":7}`))
	f.Add([]byte(`{"stream":"S","seq":7,"duplicate":true}`))
	f.Add([]byte(`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}`))
	f.Add([]byte(`{"stream":"S","seq":7,"batch":"x","count":3}`))
	f.Add([]byte(`{"seq":-1}`))
	f.Add([]byte(`{"error":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		seq, err := parsePubAck(b)
		if err != nil {
			require.Zero(t, seq)
			require.NotEmpty(t, err.Error())
			if api := (*jetstream.APIError)(nil); errors.As(err, &api) {
				require.NotNil(t, api)
				require.True(t, json.Valid(b))
			}
			return
		}
		require.NotZero(t, seq)
		again, err := json.Marshal(jetstream.PubAck{Stream: "S", Sequence: seq})
		require.NoError(t, err)
		got, err := parsePubAck(again)
		require.NoError(t, err)
		require.Equal(t, seq, got)
	})
}
