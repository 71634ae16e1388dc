// Package testkdc runs MIT's Kerberos key distribution centre for a test: on loopback, with all of its files in the test's temporary
// directory, as whoever runs the test.
package testkdc
