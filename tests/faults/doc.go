// Package faults
package faults
