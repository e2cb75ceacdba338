package main

import (
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/control"
)

func TestAuditVerify(t *testing.T) {
	code, out, talk := execute(with(&fake{chain: control.Verified{Rows: 12, First: 3, Last: 14, Cut: 2, Hash: "abc"}}), "audit", "verify", "-o", "json")
	if code != 0 || talk != "" || !strings.Contains(out, `"rows": 12`) && !strings.Contains(out, `"rows":12`) {
		t.Errorf("%d %s %s", code, out, talk)
	}
	code, out, talk = execute(with(&fake{chain: control.Verified{Rows: 4, Broken: 5, Why: "it was changed"}}), "audit", "verify")
	if code != 1 || !strings.Contains(out, "broken at row 5") || !strings.Contains(talk, "it was changed") {
		t.Errorf("%d %s %s", code, out, talk)
	}
}
