package box

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/landwaiter/landwaiter/scan"
	"github.com/landwaiter/landwaiter/scan/archive/archivetest"
)

// TestBombs: every bomb ends within the bounds, in time and in memory.
func TestBombs(t *testing.T) {
	memory := int64(256 << 20)
	if raceDetector {
		memory = 2 << 30 // it takes several times as much
	}
	p := open(t, Options{Size: 1, Memory: memory})
	bombs := archivetest.Bombs()
	bombs["nested 200"] = archivetest.Nested(200, []byte("x"))
	lim := scan.Limits{}
	if testing.Short() {
		lim.Expanded = 64 << 20
	}
	bombs["million"] = archivetest.ManyZip(1_000_000)
	want := map[string]scan.Reason{"nested 200": scan.ArchiveDepth, "million": scan.ArchiveFiles}
	violations := 0
	for name, b := range bombs {
		began := time.Now()
		res, err := p.Inspect(context.Background(), file(t, b), int64(len(b)), lim, Ask{})
		reason := scan.ArchiveSize
		if r, ok := want[name]; ok {
			reason = r
		}
		if took := time.Since(began); err != nil || res.Facts.Reason != reason || took > 30*time.Second {
			violations++
			t.Errorf("%s: %+v, %v, in %v", name, res.Facts, err, took)
		}
	}
	c, err := p.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if c.uses != len(bombs) {
		t.Errorf("%d uses of one child, want %d", c.uses, len(bombs))
	}
	c.end()
	rss := c.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	if rss > memory && !raceDetector {
		violations++
		t.Errorf("RSS %d MiB", rss>>20)
	}
	t.Logf("cases=%d violations=%d rss=%dMiB", len(bombs), violations, rss>>20)
}

// TestFlips damages archives at random, in a child. It must survive, and what
// it calls complete must have shown the marker, or be an archive no more.
func TestFlips(t *testing.T) {
	perFormat := 2000
	if testing.Short() {
		perFormat = 200
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	p := open(t, Options{Size: 1, Uses: 1 << 30})
	cases, violations, complete := 0, 0, 0
	for kind, good := range archivetest.Formats() {
		f := file(t, good)
		for range perFormat {
			b := bytes.Clone(good)
			for range 1 + rnd.IntN(3) {
				switch rnd.IntN(3) {
				case 0:
					b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
				case 1:
					b[rnd.IntN(len(b))] = byte(rnd.Uint32())
				default: // near the ends, where the structure is
					i := rnd.IntN(min(64, len(b)))
					if rnd.IntN(2) == 0 {
						i = len(b) - 1 - i
					}
					b[i] = byte(rnd.Uint32())
				}
			}
			if _, err := f.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
			cases++
			res, err := p.Inspect(context.Background(), f, int64(len(b)), scan.Limits{},
				Ask{Needle: []byte(archivetest.Marker), Threat: "Marker"})
			if err != nil {
				violations++
				t.Errorf("%s: %v", kind, err)
				dump(t, kind, b)
				continue
			}
			if res.Facts.Reason != "" || len(res.Infected) > 0 || res.Facts.Kind == "" {
				continue
			}
			complete++
			// Without a checksum the content itself may have changed, in sight; a
			// zstd frame that was told to have none leaves its own behind.
			unchecked := (kind == "tar" || kind == "ar") && !bytes.Contains(b, []byte(archivetest.Marker)) ||
				kind == "zstd" && res.Facts.Entries == 2
			if kind == res.Facts.Kind && !unchecked {
				violations++
				t.Errorf("%s: complete without the marker: %+v", kind, res.Facts)
				dump(t, kind, b)
			}
		}
	}
	if c := p.idle[0]; c.uses != cases {
		t.Errorf("the child did not survive: %d of %d", c.uses, cases)
	}
	t.Logf("cases=%d violations=%d seed=%d complete=%d", cases, violations, seed, complete)
}

// dump keeps what failed, if BOX_DUMP names a directory.
func dump(t *testing.T, kind string, b []byte) {
	if dir := os.Getenv("BOX_DUMP"); dir != "" {
		name := fmt.Sprintf("%s/%s-%x", dir, kind, rand.Uint32())
		t.Log(name)
		_ = os.WriteFile(name, b, 0o600)
	}
}
