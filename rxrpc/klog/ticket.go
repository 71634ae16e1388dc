package klog

import (
	"context"
	"fmt"
	"syscall"

	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// maxReferrals is how many KDCs may send us on to another.
const maxReferrals = 5

// ticket gets a ticket for a service of a realm, by way of the user's own KDC.
func (s *session) ticket(ctx context.Context, realm string, service types.PrincipalName) (*messages.TGSRep, error) {
	at, with := s.realm, s.home
	want := service
	if realm != s.realm {
		want = types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", realm}}
	}
	for range maxReferrals {
		rep, err := s.exchange(ctx, at, with, want, false)
		if err != nil {
			return nil, err
		}
		got := rep.DecryptedEncPart.SName
		if got.Equal(service) {
			return rep, nil
		}
		// A ticket for another KDC: the one that was asked for, or one that is nearer.
		if len(got.NameString) != 2 || got.NameString[0] != "krbtgt" {
			return nil, fmt.Errorf("the KDC gave a ticket for %s: %w", printable(got.PrincipalNameString()), syscall.EPROTO)
		}
		at, with = got.NameString[1], newGranting(rep.Ticket, &rep.DecryptedEncPart)
		defer with.wipe()
		want = service
		if at != realm {
			want = types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", realm}}
		}
	}
	return nil, fmt.Errorf("more than %d KDCs on the way: %w", maxReferrals, syscall.ELOOP)
}

// exchange is the TGS exchange of RFC 4120, section 3.3.
func (s *session) exchange(ctx context.Context, at string, with *granting, want types.PrincipalName, renew bool) (*messages.TGSRep, error) {
	var request messages.TGSReq
	err := guard(func() (err error) {
		request, err = messages.NewTGSReq(s.creds.CName(), at, s.net.conf, with.ticket, with.key, want, renew)
		return err
	})
	if err != nil {
		return nil, err
	}
	reply, err := s.ask(ctx, at, &request)
	if err != nil {
		return nil, kdcError(err)
	}
	var answer messages.TGSRep
	err = guard(func() error {
		if err := answer.Unmarshal(reply); err != nil {
			return errMessage
		}
		if err := answer.DecryptEncPart(with.key); err != nil {
			return errMessage
		}
		if ok, err := answer.Verify(s.net.conf, request); !ok || err != nil {
			return fmt.Errorf("the KDC's answer does not fit: %w: %w", syscall.EPROTO, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The library leaves out whom the ticket is for: outside the sealed part anybody can have written it.
	if part := &answer.DecryptedEncPart; !part.SName.Equal(answer.Ticket.SName) {
		return nil, errMessage
	}
	return &answer, nil
}
