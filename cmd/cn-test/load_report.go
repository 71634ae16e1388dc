package main

import (
	"fmt"
	"time"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

// loadSummary ends the output of `soak --json` and `flood --json`. The account balances (ok)
// when sent = delivered + reported_lost for every receiver.
type loadSummary struct {
	Event        string         `json:"event"`         // summary; progress: the lines before it
	Messages     uint64         `json:"messages"`      // of all senders
	Sent         uint64         `json:"sent"`          // deliveries due: messages x receivers
	Delivered    uint64         `json:"delivered"`     //
	ReportedLost uint64         `json:"reported_lost"` //
	Seconds      float64        `json:"seconds"`
	OK           *bool          `json:"ok,omitempty"`
	Receivers    []receiverLine `json:"receivers,omitempty"`
	Paths        []pathLine     `json:"paths,omitempty"` // of a site; not in the sums above
}

type receiverLine struct {
	Slow         bool   `json:"slow,omitempty"`
	Delivered    uint64 `json:"delivered"`
	ReportedLost uint64 `json:"reported_lost"`
	Missing      uint64 `json:"missing"`         // by the numbers in the messages
	Wrong        uint64 `json:"wrong,omitempty"` // out of order, doubled
	OK           bool   `json:"ok"`
}

// sum is the account of now.
func (l *load) sum(event string) loadSummary {
	s := loadSummary{Event: event, Messages: l.sent(), Seconds: time.Since(l.start).Seconds()}
	s.Sent = s.Messages * uint64(len(l.receivers))
	for _, r := range l.receivers {
		s.Delivered += r.delivered.Load()
		s.ReportedLost += r.lost.Load()
	}
	return s
}

// progress shows once a second how far it is, on a terminal or with --json or -v.
func (l *load) progress(e *env) (stop func()) {
	l.start = time.Now()
	tty := cli.IsTerminal(e.app.Err) && !e.app.Quiet
	if !tty && !e.app.JSON && !e.app.Verbose {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-quit:
				if tty {
					fmt.Fprint(e.app.Err, "\r\x1b[K")
				}
				return
			}
			s := l.sum("progress")
			text := fmt.Sprintf("%3.0f s   %s sent   %s delivered   %s lost", s.Seconds, cli.Count(s.Sent), cli.Count(s.Delivered), cli.Count(s.ReportedLost))
			switch {
			case e.app.JSON:
				_ = e.app.Out.JSON(s) // Out keeps the error
			case tty:
				fmt.Fprintf(e.app.Err, "\r\x1b[K%s", text)
			default:
				e.app.Notice("%s", text)
			}
		}
	}()
	return func() { close(quit); <-done }
}

// report prints the account and fails if it does not balance.
func (l *load) report(e *env) error {
	s := l.sum("summary")
	s.Seconds = l.took.Seconds()
	ok := true
	for _, r := range l.receivers {
		line := receiverLine{
			Slow: r.slow, Delivered: r.delivered.Load(), ReportedLost: r.lost.Load(), Missing: r.missing(), Wrong: r.wrong,
			OK: r.balanced(s.Messages),
		}
		ok = ok && line.OK
		s.Receivers = append(s.Receivers, line)
	}
	for _, p := range l.paths {
		line := p.line()
		ok = ok && line.OK
		s.Paths = append(s.Paths, line)
	}
	s.OK = &ok
	if e.app.JSON {
		if err := e.app.Out.JSON(s); err != nil {
			return err
		}
	} else if err := printLoad(e, &s); err != nil {
		return err
	}
	if !ok {
		return cli.ErrSilent
	}
	return nil
}

func printLoad(e *env, s *loadSummary) error {
	o := e.app.Out
	t := cli.NewTable(">RECEIVER", ">DELIVERED", ">REPORTED LOST", ">SUM", ">SENT", "ACCOUNT")
	for i, r := range s.Receivers {
		verdict := "balances"
		if r.Slow {
			verdict += " (slow)"
		}
		if !r.OK {
			verdict = fmt.Sprintf("WRONG: %d are missing by their numbers, %d came out of order", r.Missing, r.Wrong)
		}
		t.Row(i+1, cli.Count(r.Delivered), cli.Count(r.ReportedLost), cli.Count(r.Delivered+r.ReportedLost), cli.Count(s.Messages), verdict)
	}
	if err := t.Print(o, o.Style); err != nil {
		return err
	}
	if err := printPaths(o, s.Paths); err != nil {
		return err
	}
	o.Printf("\n%s messages in %.2f s: %s sent/s, %s delivered/s\n", cli.Count(s.Messages), s.Seconds,
		cli.Count(uint64(float64(s.Messages)/s.Seconds)), cli.Count(uint64(float64(s.Delivered)/s.Seconds)))
	if *s.OK {
		o.Printf("%s\n", o.Style.Green("sent = delivered + reported lost, for every receiver"))
	} else {
		o.Printf("%s\n", o.Style.Red("the account does not balance"))
	}
	return nil
}
