// Package klog gets what a client of AFS proves itself with from Kerberos: a ticket for a cell's servers, as a token for package
// rxkad, and keys for package keyring. The command cnbus rx klog is this package with flags.
//
//	cred, err := klog.Get(ctx, klog.Config{Cell: "example.com"})
//	security, err := rxkad.NewClient(cred.Token, rxkad.Encrypt)
//
// # Who is asked
//
// A key distribution centre (KDC) of a realm, which krb5.conf names, or DNS, or Config.KDCs. The user is shown by a password, a
// keytab, or a credential cache that somebody has filled (kinit, a login). Nothing is written to the cache.
//
// The ticket is for afs/CELL@REALM, or where there is no such principal for afs@REALM. The realms are tried in this order:
// Config.ServiceRealm alone, if it is set; else what krb5.conf has for the cell in [domain_realm], the cell's name in capitals, the
// user's own realm. Of a realm that is not the user's own a ticket is got by way of the latter.
//
// # Time
//
// Get waits for KDCs in turn, by UDP and by TCP, some seconds each; ctx ends it at any time. A token is good until
// Credential.Expires: Keep gets a new one when two thirds of its life are over, for as long as it runs.
//
// # Secrets
//
// Passwords go to the Kerberos library as strings, which cannot be wiped. Session keys are rxkad.Keys, and are not shown;
// the payload of a key, which has one in it, is only made to be handed on.
//
// What is not supported: FAST, PKINIT and one-time passwords, caches other than files, includes in krb5.conf.
//
// Sources: RFC 4120, RFC 6806 (referrals), RFC 3961; MIT's documents on credential caches and krb5.conf; what
// aklog of OpenAFS asks for.
package klog
