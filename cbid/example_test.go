package cbid_test

import (
	"fmt"

	"github.com/cnbus/cnbus/cbid"
)

func Example() {
	id, err := cbid.Parse("0x123:0x456")
	if err != nil {
		fmt.Println(err)
		return
	}
	name, _ := cbid.Proc.Name()
	fmt.Println(id, id.Compare(cbid.Proc) > 0, name)

	_, err = cbid.Parse("1:many")
	fmt.Println(err)
	// Output:
	// 291:1110 true proc
	// cbid: "1:many" is no id: val is not a number
}

func ExampleSet() {
	// What a policy file says an agent may register.
	set, err := cbid.ParseSet("proc, 0x100-0x1ff:*")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set)
	fmt.Println(set.Contains(cbid.Make(0x123, 0x456)), set.Contains(cbid.CIFS))
	// Output:
	// 1:1, 256-511:*
	// true false
}

func ExampleRange() {
	// The sum has 64 bits: this range ends at the highest number.
	r := cbid.Range{First: 0xfffffff0, Count: 100}
	fmt.Println(r, r.Contains(0xffffffff), r.Contains(5))
	// Output: 4294967280-* true false
}
