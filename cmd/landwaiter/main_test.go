package main

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/landwaiter/landwaiter/scan/box"
)

func TestMain(m *testing.M) {
	box.Main() // a boxed child starts as this binary too
	testscript.Main(m, map[string]func(){"landwaiter": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":    code,
			"doctor":  doctor,
			"waitfor": waitFor,
		},
	})
}

// code N PROGRAM ARG… runs the program and wants the exit code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program arg...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		coder, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = strconv.Itoa(coder.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s: %v", got, args[0], err)
	}
}

// doctor ARG… runs the doctor, whatever the machine makes it say in the end.
func doctor(ts *testscript.TestScript, _ bool, args []string) {
	if err := ts.Exec("landwaiter", append([]string{"doctor"}, args...)...); err != nil {
		ts.Logf("%v", err)
	}
}

// waitfor FILE waits until there is such a file, for half a minute at most.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor file")
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		} else if time.Now().After(end) {
			ts.Fatalf("%v", err)
		}
	}
}
