package main

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/landwaiter/landwaiter/config"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func TestDocumentedConfigurationsAreValid(t *testing.T) {
	for _, name := range []string{"README.md", "docs/config.md"} {
		blocks := yamlBlock.FindAllStringSubmatch(read(t, name), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no example", name)
		}
		for _, b := range blocks {
			cfg, err := config.Load(config.Options{File: name, Data: []byte(b[1]), Unresolved: true})
			if err == nil {
				_, err = workflows(cfg)
			}
			if err != nil {
				t.Errorf("an example in %s: %v", name, err)
			}
		}
	}
}

func TestDocumentedExitCodes(t *testing.T) {
	doc := read(t, "docs/cli.md")
	_, table, _ := strings.Cut(doc, "## Exit codes")
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| (.+) \|$`).FindAllStringSubmatch(table, -1)
	want := map[int]string{exitOK: "ok", exitFailed: "failed", exitUsage: "usage", exitConfig: "configuration", exitDenied: "allowed", exitNotFound: "not found",
		exitConflict: "conflict", exitPartial: "part", exitUnreachable: "unreachable", exitTimeout: "timeout", exitInfected: "infected", exitNotScanned: "not scanned"}
	for _, r := range rows {
		code, err := strconv.Atoi(r[1])
		if err != nil || !strings.Contains(r[2], want[code]) || want[code] == "" {
			t.Errorf("docs/cli.md: %s", r[0])
		}
		delete(want, code)
	}
	if len(want) > 0 {
		t.Errorf("docs/cli.md says nothing of %v", want)
	}
}

func TestEveryCommandIsDocumented(t *testing.T) {
	doc := read(t, "docs/cli.md")
	parser, err := kong.New(&cli{}, kong.Name("landwaiter"), kong.Writers(&bytes.Buffer{}, &bytes.Buffer{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(true) {
		words := strings.Fields(strings.TrimPrefix(leaf.Path(), "landwaiter "))
		row := ""
		for line := range strings.Lines(doc) {
			if strings.HasPrefix(line, "| `"+words[0]) {
				row = line
			}
		}
		if !strings.Contains(row, words[len(words)-1]) {
			t.Errorf("docs/cli.md says nothing of %s", leaf.Path())
		}
	}
}
