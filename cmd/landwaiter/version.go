package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/landwaiter/landwaiter/internal/output"
)

type versionCmd struct{}

// release is set by the linker: -X main.release=v1.2.3.
var release string

// version is the release, or what the module's build knows of itself.
func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// Run prints the version.
func (c *versionCmd) Run(a *App) error {
	v := struct {
		Version string `json:"version"`
		Go      string `json:"go"`
		OS      string `json:"os"`
		Arch    string `json:"arch"`
	}{version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
	return output.One(a.printer(), v, fmt.Sprintf("landwaiter %s, %s, %s/%s\n", v.Version, v.Go, v.OS, v.Arch))
}
