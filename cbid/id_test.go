package cbid

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var anyID = rapid.Custom(func(t *rapid.T) ID {
	return ID{rapid.Uint32().Draw(t, "idx"), rapid.Uint32().Draw(t, "val")}
})

func TestParse(t *testing.T) {
	for text, want := range map[string]ID{
		"1:1":                   {1, 1},
		"0x123:0x456":           {0x123, 0x456},
		"0X1f:0XFF":             {0x1f, 0xff},
		"-1:-1":                 Control,
		"4294967295:4294967295": Control,
		"010:0":                 {10, 0},
		"proc":                  Proc,
		" cn-test\n":            CnTest,
		"control":               Control,
		"5:0xa":                 {5, 10},
	} {
		got, err := Parse(text)
		require.NoError(t, err, "%q", text)
		assert.Equal(t, want, got, "%q", text)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"":                          "neither",
		":":                         "idx is missing",
		"1:":                        "val is missing",
		"1":                         "neither",
		"1:2:3":                     "val is not a number",
		"-2:1":                      "idx is not a number",
		"+1:1":                      "idx is not a number",
		"1_0:1":                     "idx is not a number",
		"0x:1":                      "idx is not a number",
		"0x-1:1":                    "idx is not a number",
		"4294967296:1":              "idx is more than 4294967295",
		"1:0x100000000000000000000": "val is more than 4294967295",
		"PROC":                      "neither",
		"1 : 1":                     "idx is not a number",
		"\x00:1":                    "idx is not a number",
	} {
		_, err := Parse(text)
		var pe *ParseError
		require.ErrorAs(t, err, &pe, "%q", text)
		assert.Equal(t, text, pe.Text)
		assert.ErrorContains(t, err, why, "%q", text)
	}
	_, err := Parse(string(make([]byte, 1<<20)))
	assert.Less(t, len(err.Error()), 1000, "an error does not repeat a megabyte")
}

func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := anyID.Draw(t, "id")
		got, err := Parse(id.String())
		require.NoError(t, err)
		require.Equal(t, id, got)

		text, err := id.AppendText([]byte("x"))
		require.NoError(t, err)
		require.Equal(t, "x"+id.String(), string(text))
		text, err = id.MarshalText()
		require.NoError(t, err)
		var back ID
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, id, back)
	})
}

func TestJSON(t *testing.T) {
	type doc struct {
		ID  ID            `json:"id"`
		Map map[ID]string `json:"map"`
		Set *Set          `json:"set"`
	}
	in := doc{Proc, map[ID]string{Control: "c"}, NewSet(Rect{Between(1, 2), All})}
	b, err := json.Marshal(in)
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"1:1","map":{"4294967295:4294967295":"c"},"set":"1-2:*"}`, string(b))
	var out doc
	require.NoError(t, json.Unmarshal(b, &out))
	assert.Equal(t, in, out)

	out.ID = Make(7, 7)
	require.Error(t, json.Unmarshal([]byte(`{"id":"1"}`), &out))
	assert.Equal(t, Make(7, 7), out.ID, "a refused text changes nothing")
}

func TestCompareIsOrderOfPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyID.Draw(t, "a"), anyID.Draw(t, "b")
		if rapid.Bool().Draw(t, "same idx") {
			b.Idx = a.Idx
		}
		want := 0
		switch {
		case a.Idx < b.Idx || a.Idx == b.Idx && a.Val < b.Val:
			want = -1
		case a != b:
			want = 1
		}
		require.Equal(t, want, a.Compare(b))
		require.Equal(t, want < 0, a.Less(b))
		require.Equal(t, a, FromKey(a.Key()))
	})
}

// The numbers are those of linux/connector.h.
func TestNames(t *testing.T) {
	kernel := map[string]string{
		"proc": "1:1", "cifs": "2:1", "w1": "3:1", "v86d": "4:1", "bb": "5:1",
		"dst": "6:1", "dm": "7:1", "drbd": "8:1", "kvp": "9:1", "vss": "10:1",
		"control": "4294967295:4294967295",
	}
	var last ID
	n := 0
	for name, id := range Names() {
		if n > 0 {
			assert.True(t, last.Less(id), "%s is in order and has an id of its own", name)
		}
		last, n = id, n+1
		got, err := Parse(name)
		require.NoError(t, err)
		assert.Equal(t, id, got)
		back, ok := id.Name()
		assert.True(t, ok)
		assert.Equal(t, name, back)
		if want, ok := kernel[name]; ok {
			assert.Equal(t, want, id.String())
			delete(kernel, name)
		} else {
			const highestKernelIdx = 11 // CN_NETLINK_USERS
			assert.Greater(t, id.Idx, uint32(highestKernelIdx), "%s is outside the kernel's range", name)
			assert.Equal(t, uint32(0x636e), id.Idx>>16)
		}
	}
	assert.Empty(t, kernel, "every well-known id of the kernel has a name")
	_, ok := Make(12, 1).Name()
	assert.False(t, ok)
	_, ok = ByName("")
	assert.False(t, ok)
	for range Names() {
		break // may be left early
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1:1", "0x123:0x456", "-1:-1", "proc", "", "1:", ":::", "99999999999:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := Parse(s)
		if err != nil {
			require.Equal(t, ID{}, id)
			return
		}
		back, err := Parse(id.String())
		require.NoError(t, err)
		require.Equal(t, id, back)
	})
}
