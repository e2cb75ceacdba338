package s3

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/landwaiter/landwaiter/object"
	"github.com/landwaiter/landwaiter/test/servers"
)

// fill puts n objects of 4 KiB.
func (p place) fill(b *testing.B, n int) []string {
	b.Helper()
	keys := make([]string, n)
	content := make([]byte, 4<<10)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				keys[i] = fmt.Sprintf("d%02d/%06d", i%20, i)
				p.put(b, keys[i], content)
			}
		})
	}
	wg.Wait()
	return keys
}

// BenchmarkGet reads 4 KiB objects, 16 at a time, through the driver and through
// the plain SDK client, on the same server.
func BenchmarkGet(b *testing.B) {
	p := newPlace(b, servers.Versitygw(b), false)
	keys := p.fill(b, 2000)
	d := p.open(b)
	defer func() { _ = d.Close() }()
	client := p.srv.Client()
	for name, get := range map[string]func(ctx context.Context, key string) error{
		"driver": func(ctx context.Context, key string) error {
			r, err := d.Open(ctx, object.Ref{Key: key}, 0)
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }()
			_, err = io.Copy(io.Discard, r)
			return err
		},
		"sdk": func(ctx context.Context, key string) error {
			out, err := client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &p.bucket, Key: aws.String(p.prefix + key)})
			if err != nil {
				return err
			}
			defer func() { _ = out.Body.Close() }()
			_, err = io.Copy(io.Discard, out.Body)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
						if err := get(b.Context(), keys[i%len(keys)]); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}

// BenchmarkList lists keys through the driver and through the plain SDK client.
func BenchmarkList(b *testing.B) {
	p := newPlace(b, servers.Versitygw(b), false)
	const n = 10_000
	p.fill(b, n)
	d := p.open(b)
	defer func() { _ = d.Close() }()
	for name, list := range map[string]func(ctx context.Context) (int, error){
		"driver": func(ctx context.Context) (keys int, err error) {
			for _, err := range d.List(ctx, "", "") {
				if err != nil {
					return keys, err
				}
				keys++
			}
			return keys, nil
		},
		"sdk": func(ctx context.Context) (keys int, err error) {
			pages := awss3.NewListObjectsV2Paginator(p.srv.Client(), &awss3.ListObjectsV2Input{Bucket: &p.bucket, Prefix: &p.prefix})
			for pages.HasMorePages() {
				out, err := pages.NextPage(ctx)
				if err != nil {
					return keys, err
				}
				keys += len(out.Contents)
			}
			return keys, nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if got, err := list(b.Context()); err != nil || got != n {
					b.Fatalf("%d keys, %v", got, err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}
