package klog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// A granting is a ticket for a KDC, and the key in it.
type granting struct {
	ticket          messages.Ticket
	key             types.EncryptionKey
	begins, expires time.Time
	renewable       time.Time // until when it can be renewed; zero: not
}

func (g *granting) valid(now time.Time) bool { return g != nil && now.Before(g.expires) }

// late reports whether half of its life is over.
func (g *granting) late(now time.Time) bool {
	return now.After(g.begins.Add(g.expires.Sub(g.begins) / 2))
}

func (g *granting) wipe() {
	if g != nil {
		clear(g.key.KeyValue)
	}
}

func newGranting(t messages.Ticket, part *messages.EncKDCRepPart) *granting {
	return &granting{t, part.Key, begin(part), part.EndTime, part.RenewTill}
}

func begin(part *messages.EncKDCRepPart) time.Time {
	if part.StartTime.IsZero() {
		return part.AuthTime
	}
	return part.StartTime
}

// login gets a ticket for the KDC of the user's own realm with the user's key: the AS exchange of RFC 4120, section 3.1. The
// first request shows nothing; the KDC asks for an encrypted time stamp, and says how the key is made.
func (s *session) login(ctx context.Context) (*granting, error) {
	request, err := messages.NewASReqForTGT(s.realm, s.net.conf, s.creds.CName())
	if err != nil {
		return nil, err
	}
	reply, err := s.ask(ctx, s.realm, &request)
	var no messages.KRBError
	if errors.As(err, &no) && no.ErrorCode == errorcode.KDC_ERR_PREAUTH_REQUIRED {
		if err := guard(func() error { return preauthenticate(s.creds, &no, &request) }); err != nil {
			return nil, err
		}
		reply, err = s.ask(ctx, s.realm, &request)
	}
	if err != nil {
		return nil, kdcError(err)
	}
	var answer messages.ASRep
	if err := guard(func() error { return answer.Unmarshal(reply) }); err != nil {
		return nil, errMessage
	}
	if err := bounded(answer.PAData); err != nil {
		return nil, err
	}
	err = guard(func() error {
		if ok, err := answer.Verify(s.net.conf, s.creds, request); !ok || err != nil {
			return fmt.Errorf("the KDC's answer does not fit, or the password or key is wrong: %w: %w", syscall.EACCES, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newGranting(answer.Ticket, &answer.DecryptedEncPart), nil
}

// ask sends a message of the library.
func (s *session) ask(ctx context.Context, realm string, m interface{ Marshal() ([]byte, error) }) ([]byte, error) {
	b, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	return s.net.exchange(ctx, realm, b)
}

// preauthenticate adds to a request the time, encrypted with the user's key (RFC 4120, section 5.2.7.2), of the first encryption type that
// the KDC offers and the user has.
func preauthenticate(creds *credentials.Credentials, no *messages.KRBError, request *messages.ASReq) error {
	var offers types.PADataSequence
	if err := offers.Unmarshal(no.EData); err != nil {
		return errMessage
	}
	if err := bounded(offers); err != nil {
		return err
	}
	key, err := userKey(creds, offers)
	if err != nil {
		return err
	}
	defer clear(key.KeyValue)
	now, err := types.GetPAEncTSEncAsnMarshalled()
	if err != nil {
		return err
	}
	sealed, err := crypto.GetEncryptedData(now, key, keyusage.AS_REQ_PA_ENC_TIMESTAMP, 0)
	if err != nil {
		return err
	}
	b, err := sealed.Marshal()
	if err != nil {
		return err
	}
	request.PAData = append(request.PAData, types.PAData{PADataType: patype.PA_ENC_TIMESTAMP, PADataValue: b})
	return nil
}

// userKey finds, or makes, the user's key of a type that the KDC offers.
func userKey(creds *credentials.Credentials, offers types.PADataSequence) (types.EncryptionKey, error) {
	for _, o := range offers {
		if o.PADataType != patype.PA_ETYPE_INFO2 {
			continue
		}
		kinds, err := o.GetETypeInfo2()
		if err != nil {
			return types.EncryptionKey{}, errMessage
		}
		for _, k := range kinds {
			if _, err := crypto.GetEtype(k.EType); err != nil {
				continue
			}
			if creds.HasKeytab() {
				key, _, err := creds.Keytab().GetEncryptionKey(creds.CName(), creds.Domain(), 0, k.EType)
				if err != nil {
					continue
				}
				key.KeyValue = append([]byte(nil), key.KeyValue...) // the caller wipes it
				return key, nil
			}
			key, _, err := crypto.GetKeyFromPassword(creds.Password(), creds.CName(), creds.Domain(), k.EType, offers)
			if err == nil {
				return key, nil
			}
		}
	}
	return types.EncryptionKey{}, fmt.Errorf("no key of a kind that the KDC wants: %w", syscall.EACCES)
}

// maxIterations is how often a password may be hashed; KDCs want 4096 (RFC 3962) to some 100,000.
const maxIterations = 1 << 20

// bounded refuses an answer that would have us hash for hours: anybody can send one.
func bounded(all types.PADataSequence) error {
	return guard(func() error {
		for _, pa := range all {
			if pa.PADataType != patype.PA_ETYPE_INFO2 {
				continue
			}
			kinds, err := pa.GetETypeInfo2()
			if err != nil || len(kinds) == 0 {
				return errMessage
			}
			for _, k := range kinds {
				if n := len(k.S2KParams); n != 0 && (n != 4 || binary.BigEndian.Uint32(k.S2KParams) > maxIterations || binary.BigEndian.Uint32(k.S2KParams) == 0) {
					return errMessage
				}
			}
		}
		return nil
	})
}
