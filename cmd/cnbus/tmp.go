package main

import (
	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

func newPolicy(app *cli.App) *cobra.Command  { return &cobra.Command{Use: "policy"} }
func newDoctor(app *cli.App) *cobra.Command  { return &cobra.Command{Use: "doctor"} }
func newStat(app *cli.App) *cobra.Command    { return &cobra.Command{Use: "stat"} }
func newMonitor(app *cli.App) *cobra.Command { return &cobra.Command{Use: "monitor"} }
