// Package rxdebug is nothing but tests: they ask real endpoints with our client and with OpenAFS's.
package rxdebug
