package harness

// Alternate calls ours and rival n times each, in turn, so that whatever
// changes on the machine meanwhile changes for both. Who begins changes from
// round to round and from turn to turn. A nil rival is left out.
func Alternate(round, n int, ours, rival func() error) error {
	for i := range n {
		first, second := ours, rival
		if (round+i)%2 == 1 {
			first, second = rival, ours
		}
		for _, f := range []func() error{first, second} {
			if f == nil {
				continue
			}
			if err := f(); err != nil {
				return err
			}
		}
	}
	return nil
}
