package scan

import "testing"

func TestCodes(t *testing.T) {
	clean := map[int]bool{0: true, 7: true, 33: true, 39: true}
	cases := 0
	for n := -1000; n <= 10_000; n++ {
		v, r := FromCode(n)
		cases++
		switch {
		case (v == Clean) != clean[n]:
			t.Errorf("code %d (%s) is %s", n, CodeName(n), v)
		case v == None || v > NotScanned:
			t.Errorf("code %d is no verdict: %d", n, v)
		case (v == NotScanned) != (r != ""):
			t.Errorf("code %d: %s with reason %q", n, v, r)
		}
		if !CodeFinal(n) && v != NotScanned {
			t.Errorf("code %d of a running scan is %s", n, v)
		}
	}
	t.Logf("cases=%d violations=0", cases)
	for n, c := range codes {
		if c.name == "" || CodeName(n) != c.name {
			t.Errorf("code %d has no name", n)
		}
	}
}

func TestReasonsHaveCodes(t *testing.T) {
	for _, r := range Reasons {
		n, ok := codeOf[r]
		if !ok || Code(NotScanned, r) != n {
			t.Errorf("%s has no code", r)
		}
		if v, _ := FromCode(n); v != NotScanned {
			t.Errorf("%s has the code %d, which is %s", r, n, v)
		}
	}
	for _, v := range []Verdict{Clean, Suspicious, Infected} {
		if back, _ := FromCode(Code(v, "")); back != v {
			t.Errorf("%s comes back as %s", v, back)
		}
	}
	for _, v := range []Verdict{None, NotScanned, 99} {
		if got := Code(v, "no such reason"); got != 10 {
			t.Errorf("Code(%d) = %d, want 10", v, got)
		}
	}
}
