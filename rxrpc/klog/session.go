package klog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A session is a user, and the tickets for KDCs that the user has. It is used by one goroutine.
type session struct {
	cfg   Config
	net   network
	creds *credentials.Credentials
	realm string // the user's own
	home  *granting
	now   func() time.Time
}

// open reads what the Config names.
func open(cfg Config) (*session, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	conf, err := readConf(cfg.Conf)
	if err != nil {
		return nil, err
	}
	if cfg.Lifetime > 0 {
		conf.LibDefaults.TicketLifetime = cfg.Lifetime
	}
	s := &session{cfg: cfg, net: network{conf, cfg.KDCs}, now: time.Now}
	name, realm := splitPrincipal(cfg.Principal)
	if realm == "" {
		realm = conf.LibDefaults.DefaultRealm
	}
	if realm == "" {
		realm = strings.ToUpper(cfg.Cell)
	}
	s.realm = realm
	switch {
	case cfg.Password != "":
		s.creds = credentials.New(name, realm).WithPassword(cfg.Password)
	case cfg.Keytab != "":
		t, err := readKeytab(cfg.Keytab)
		if err != nil {
			return nil, err
		}
		if name == "" {
			first := t.Entries[0].Principal
			name, s.realm = strings.Join(first.Components, "/"), first.Realm
		}
		s.creds = credentials.New(name, s.realm).WithKeytab(t)
	default:
		if err := s.readCache(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// splitPrincipal takes NAME@REALM apart.
func splitPrincipal(s string) (name, realm string) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// cached reports whether the user is known by a cache.
func (s *session) cached() bool { return s.cfg.Password == "" && s.cfg.Keytab == "" }

// readCache takes the user's ticket out of the cache, if it is a better one than is there.
func (s *session) readCache() error {
	c, err := readCache(s.cfg.Cache)
	if err != nil {
		return err
	}
	if name, realm := splitPrincipal(s.cfg.Principal); name != "" && (name != strings.Join(c.user.NameString, "/") || realm != "" && realm != c.realm) {
		return fail("use the cache for", s.cfg.Principal, fmt.Errorf("it is %s's: %w", c.name(), syscall.EACCES))
	}
	s.creds, s.realm = credentials.NewFromPrincipalName(c.user, c.realm), c.realm
	if s.home == nil || c.home.expires.After(s.home.expires) {
		s.home.wipe()
		s.home = c.home
	}
	return nil
}

func (s *session) wipe() { s.home.wipe() }

func (s *session) name() string { return s.creds.CName().PrincipalNameString() + "@" + s.realm }

// get gets a token.
func (s *session) get(ctx context.Context) (*Credential, error) {
	if err := s.logIn(ctx); err != nil {
		return nil, fail("log in", s.name(), err)
	}
	var first error
	for _, realm := range s.serviceRealms() {
		for _, name := range [][]string{{"afs", s.cfg.Cell}, {"afs"}} {
			service := types.PrincipalName{NameType: nametype.KRB_NT_PRINCIPAL, NameString: name}
			what := strings.Join(name, "/") + "@" + realm
			rep, err := s.ticket(ctx, realm, service)
			if err == nil {
				c, err := s.credential(rep)
				return c, fail("use the ticket for", what, err)
			}
			if ctx.Err() != nil {
				return nil, fail("get a ticket for", what, err)
			}
			// That a guess was wrong is told if there is nothing worse to tell.
			if first == nil || isCode(first, errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN) && !isCode(err, errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN) && realm == s.realm {
				first = fail("get a ticket for", what, err)
			}
			if !isCode(err, errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN) {
				break // the next name would not fare better there
			}
		}
	}
	return nil, first
}

// logIn sees to a ticket for the user's own KDC.
func (s *session) logIn(ctx context.Context) error {
	now := s.now()
	if !s.cached() {
		if s.home.valid(now) && !s.home.late(now) {
			return nil
		}
		home, err := s.login(ctx)
		if err != nil {
			return err
		}
		s.home.wipe()
		s.home = home
		return nil
	}
	if s.home.late(now) {
		_ = s.readCache() // somebody may have filled it again; if not, what is there may still do
	}
	if !s.home.valid(now) {
		return fmt.Errorf("the ticket in the cache has expired, %s: %w", s.home.expires.UTC().Format(time.RFC3339), syscall.EACCES)
	}
	if s.home.late(now) && now.Before(s.home.renewable) {
		own := types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", s.realm}}
		if rep, err := s.exchange(ctx, s.realm, s.home, own, true); err == nil {
			s.home.wipe()
			s.home = newGranting(rep.Ticket, &rep.DecryptedEncPart)
		}
	}
	return nil
}

// serviceRealms are where the cell's servers may be, best first.
func (s *session) serviceRealms() []string {
	if s.cfg.ServiceRealm != "" {
		return []string{s.cfg.ServiceRealm}
	}
	var all []string
	for _, r := range []string{s.net.conf.ResolveRealm(strings.ToLower(s.cfg.Cell)), strings.ToUpper(s.cfg.Cell), s.realm} {
		if r != "" && !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}

// credential makes a token of a ticket.
func (s *session) credential(rep *messages.TGSRep) (*Credential, error) {
	part := &rep.DecryptedEncPart
	defer clear(part.Key.KeyValue)
	t := &rxkad.Token{Version: rxkad.Kerberos5}
	var err error
	if s.cfg.Part {
		t.Version = rxkad.Kerberos5Part
		t.Ticket, err = rep.Ticket.EncPart.Marshal()
	} else {
		t.Ticket, err = rep.Ticket.Marshal()
	}
	if err != nil {
		return nil, err
	}
	begins := begin(part)
	t.Begins, t.Expires = seconds(begins), seconds(part.EndTime)
	if t.Session, err = rxkad.SessionKey(part.Key.KeyType, part.Key.KeyValue); err != nil {
		return nil, err
	}
	if err := t.Valid(s.now()); err != nil {
		t.Wipe()
		return nil, err
	}
	return &Credential{
		Token: t, Cell: s.cfg.Cell, Client: s.name(), Service: rep.Ticket.SName.PrincipalNameString() + "@" + rep.Ticket.Realm,
		EncType: rep.Ticket.EncPart.EType, SessionKey: part.Key.KeyType, Begins: begins, Expires: part.EndTime,
	}, nil
}

// seconds is a time as tickets have it, within what they can say.
func seconds(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), int64(rxkad.Never)-1)) }
