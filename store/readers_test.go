package store

import (
	"context"
	"errors"
	"testing"
)

// Readers are few: who asks while all of them are busy waits as long as its
// context lets it, and who asks after the end hears of it.
func TestReaders(t *testing.T) {
	ctx := t.Context()
	db, err := Open(ctx, Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	busy := make(chan struct{}, maxReaders)
	release, ended := make(chan struct{}), make(chan error, maxReaders)
	for range maxReaders {
		go func() {
			ended <- db.ask(ctx, "SELECT 1", func(cells) error {
				busy <- struct{}{}
				<-release
				return nil
			})
		}()
	}
	for range maxReaders {
		<-busy
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := db.Row(short, 1, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("with all readers busy and no time: %v", err)
	}
	close(release)
	for range maxReaders {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for range 3 * maxReaders { // each is given back, also by a read that failed
		if err := db.ask(ctx, "SELECT 1", func(cells) error { return errClosed }); !errors.Is(err, errClosed) {
			t.Errorf("a reader whose caller fails: %v", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Row(ctx, 1, "k"); !errors.Is(err, errClosed) {
		t.Errorf("after the end: %v", err)
	}
}
