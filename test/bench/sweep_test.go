package bench

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/connectors/all"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/pipeline"
)

// BenchmarkSweep is P4: a sweep of a bucket in which nothing has changed, against
// a client that only lists it. The server is a stand-in that lists as S3 does,
// from memory: real ones that hold a million objects list more slowly, so that
// the merge would weigh less.
func BenchmarkSweep(b *testing.B) {
	n := count(b, "BENCH_KEYS", 1_000_000)
	s := listServer(b, n)
	ctx := b.Context()
	l := openLedger(b, b.TempDir(), "")
	u := connectors.Unit{ID: l.unit, Name: "u", URL: "s3://b?region=us-east-1&endpoint=" + s.URL, Probe: "off",
		Options: map[string]string{"access_key": "a", "secret_key": "b"}}
	st, err := all.OpenStorage(ctx, u, connectors.Options{})
	if err != nil {
		b.Fatal(err)
	}
	known(b, l, st)
	set := connectors.NewSet()
	b.Cleanup(func() { _ = set.Close() })
	if err := set.Swap(st); err != nil {
		b.Fatal(err)
	}
	swept := make(chan pipeline.SweepStats, 1)
	p := pipeline.New(pipeline.Options{Ledger: l.db, Storages: set, Swept: func(_ string, s pipeline.SweepStats, err error) {
		if err != nil {
			b.Error(err)
		}
		swept <- s
	}})
	p.Serve(pipeline.Unit{Unit: u, Scans: []ledger.Scan{l.scan}})
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	before := resident(os.Getpid(), "VmRSS:")
	go func() { ended <- p.Run(run) }()
	<-swept // at its start it sweeps by itself
	var bare, ours []side
	for range rounds {
		bare = append(bare, side{wall: list(b, s.URL, n)})
		p.Sweep(l.unit, "")
		got := <-swept
		if int(got.Listed) != n || got.New+got.Changed+got.Missing != 0 {
			b.Errorf("%+v", got)
		}
		ours = append(ours, side{wall: got.Took, peak: resident(os.Getpid(), "VmRSS:") - before})
	}
	stop()
	<-ended
	fmt.Printf("P4   %d keys, a stand-in server that lists from memory, load %s\n", n, load())
	figure("P4", "bare SDK listing", float64(n)/median(bare, wall).Seconds(), "keys/s", "-")
	figure("P4", "sweep of unchanged keys", float64(n)/median(ours, wall).Seconds(), "keys/s", "-")
	figure("P4", "against the bare listing", median(bare, wall).Seconds()/median(ours, wall).Seconds(), "x", ">= 0.9")
	figure("P4", "RSS added, server and client of the stand-in included", float64(median(ours, peak))/(1<<20), "MiB", "<= 64")
	b.ReportMetric(0, "ns/op")
}

// known puts what the server lists into the inventory.
func known(b *testing.B, l *ledgerBench, st *connectors.Storage) {
	b.Helper()
	batch := make([]ledger.Arrival, 0, 1000)
	flush := func() {
		if _, err := l.db.Intake(b.Context(), l.unit, batch, nil); err != nil {
			b.Fatal(err)
		}
		batch = batch[:0]
	}
	for info, err := range st.List(b.Context(), "", "") {
		if err != nil {
			b.Fatal(err)
		}
		batch = append(batch, ledger.Arrival{Scan: l.scan.ID, Event: object.Event{Ref: object.Ref{Unit: "u", Key: info.Key, Version: info.Version}, Size: info.Size, Baseline: true}})
		if len(batch) == cap(batch) {
			flush()
		}
	}
	flush()
}

// list lists the bucket as its users do.
func list(b *testing.B, endpoint string, n int) time.Duration {
	b.Helper()
	c := awss3.New(awss3.Options{BaseEndpoint: &endpoint, Region: "us-east-1", UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})
	start, seen := time.Now(), 0
	pages := awss3.NewListObjectsV2Paginator(c, &awss3.ListObjectsV2Input{Bucket: aws.String("b")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		seen += len(page.Contents)
	}
	if seen != n {
		b.Fatalf("%d keys listed, want %d", seen, n)
	}
	return time.Since(start)
}

// listServer answers ListObjectsV2 for a bucket of n keys.
func listServer(b *testing.B, n int) *httptest.Server {
	b.Helper()
	type content struct {
		Key, LastModified, ETag, StorageClass string
		Size                                  int64
	}
	type result struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		KeyCount              int
		NextContinuationToken string    `xml:",omitempty"`
		EncodingType          string    `xml:",omitempty"`
		Contents              []content `xml:"Contents"`
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if _, ok := q["versioning"]; ok {
			_, _ = w.Write([]byte(`<VersioningConfiguration/>`))
			return
		}
		at, _ := strconv.Atoi(q.Get("continuation-token")) // none = from the first
		size := 1000
		if m, err := strconv.Atoi(q.Get("max-keys")); err == nil {
			size = m
		}
		out := result{EncodingType: q.Get("encoding-type")}
		for ; len(out.Contents) < size && at < n; at++ {
			out.Contents = append(out.Contents, content{Key: key(int64(at)), LastModified: "2026-11-22T12:00:00.000Z", ETag: `"` + version(int64(at)) + `"`, StorageClass: "STANDARD", Size: 4096})
		}
		out.KeyCount = len(out.Contents)
		if out.IsTruncated = at < n; out.IsTruncated {
			out.NextContinuationToken = strconv.Itoa(at)
		}
		w.Header().Set("Content-Type", "application/xml")
		if err := xml.NewEncoder(w).Encode(out); err != nil {
			b.Error(err)
		}
	}))
	b.Cleanup(s.Close)
	return s
}
