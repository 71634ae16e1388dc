package natsbridge

import (
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Each record of docs/hosts.md, "The subjects", appended whole.

func appendHello(b []byte, name string) []byte {
	at := len(b)
	b = beginRecord(b, recordHello)
	return endRecord(append(b, name...), at)
}

func appendSend(b []byte, port uint32, cred connector.Cred, frame []byte) []byte {
	at := len(b)
	b = beginRecord(b, recordSend)
	b = appendU32s(b, port, cred.UID, cred.GID, cred.PID)
	return endRecord(appendFrame(b, frame), at)
}

func appendAnswer(b []byte, port uint32, frame []byte) []byte {
	at := len(b)
	b = appendU32s(beginRecord(b, recordAnswer), port)
	return endRecord(appendFrame(b, frame), at)
}

func appendConsumed(b []byte, port uint32, n uint32) []byte {
	at := len(b)
	return endRecord(appendU32s(beginRecord(b, recordConsumed), port, n), at)
}

func appendLeft(b []byte, port uint32) []byte {
	at := len(b)
	return endRecord(appendU32s(beginRecord(b, recordLeft), port), at)
}

func appendMembers(b []byte, group uint32, some bool) []byte {
	at := len(b)
	return endRecord(appendU32s(beginRecord(b, recordMembers), group, code(some)), at)
}

func appendTail(b []byte, group, count uint32, next uint64) []byte {
	at := len(b)
	b = appendU32s(beginRecord(b, recordTail), group, count)
	return endRecord(le.AppendUint64(b, next), at)
}

func appendRegistered(b []byte, info *connector.IDInfo, rev uint64) []byte {
	at := len(b)
	b = appendU32s(beginRecord(b, recordID), info.ID.Idx, info.ID.Val, info.Port, info.Owner.UID, info.Owner.GID, info.Owner.PID)
	b = le.AppendUint64(b, rev)
	return endRecord(append(b, info.Name...), at)
}

func appendNoID(b []byte, id cbid.ID, rev uint64) []byte {
	at := len(b)
	b = appendU32s(beginRecord(b, recordNoID), id.Idx, id.Val)
	return endRecord(le.AppendUint64(b, rev), at)
}

func appendLease(b []byte, inForce bool) []byte {
	at := len(b)
	return endRecord(appendU32s(beginRecord(b, recordLease), code(inForce)), at)
}

func appendPing(b []byte, kind recordKind, n uint64) []byte {
	at := len(b)
	return endRecord(le.AppendUint64(beginRecord(b, kind), n), at)
}

func appendDurable(b []byte, group uint32, h connector.History) []byte {
	at := len(b)
	b = appendU32s(beginRecord(b, recordDurable), group, code(h.Durable))
	b = le.AppendUint64(b, uint64(h.Messages))
	b = le.AppendUint64(b, uint64(h.Bytes))
	return endRecord(le.AppendUint64(b, uint64(h.Age)), at)
}

// durable reads the body of such a record.
func (f *fields) durable() (group uint32, h connector.History) {
	group, h.Durable = f.u32(), f.u32() != 0
	m, n, age := f.u64(), f.u64(), f.u64()
	if group == 0 || m > 1<<31 || n > 1<<40 || age > 1<<62 {
		f.bad = true
	}
	h.Messages, h.Bytes, h.Age = int(m), int(n), time.Duration(age)
	return group, h
}

func code(yes bool) uint32 {
	if yes {
		return 1
	}
	return 0
}
