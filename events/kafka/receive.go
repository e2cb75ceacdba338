package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/landwaiter/landwaiter/events"
	"github.com/landwaiter/landwaiter/fault"
)

// A run is what one Run of a source holds.
type run struct {
	*Source
	client *kgo.Client
	sink   events.Sink
	hurry  chan struct{} // holds one when partitions are to move and wait for us

	mu      sync.Mutex
	pending map[int32]pending // partition → what is done and not committed yet
}

// pending is what a partition has to commit.
type pending struct {
	last  *kgo.Record
	count int
}

// receive polls, takes what came and commits it, again and again.
func (r *run) receive(ctx context.Context) error {
	refused := events.Backoff{First: r.set.retry, Most: max(r.set.retry, time.Minute)}
	failed := events.Backoff{First: 500 * time.Millisecond, Most: 30 * time.Second}
	worked := false
	for {
		bounded, cancel := context.WithTimeout(ctx, pollLimit)
		fetches := r.client.PollRecords(bounded, r.set.inHand)
		cancel()
		if n := fetches.NumRecords(); n > 0 {
			r.meter.Received(n)
			r.meter.Connected()
			worked = true
			failed.Reset()
		}
		refusal := r.take(ctx, fetches)
		err := errors.Join(r.broken(ctx, fetches), r.commit(ctx))
		r.client.AllowRebalance()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.meter.Lost(err)
			if !worked && fault.Is(err, fault.Invalid, fault.Denied) {
				return err
			}
			if err := failed.Wait(ctx, err); err != nil {
				return err
			}
		}
		if refusal == nil {
			refused.Reset()
		} else if err := refused.Wait(ctx, refusal); err != nil {
			return err
		}
	}
}

// broken returns what a poll says is wrong, apart from its end.
func (r *run) broken(ctx context.Context, fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled) {
			continue
		}
		return fail(ctx, "kafka.Poll", r.set.topic, e.Err)
	}
	return nil
}

// take carries the records of a poll to the sink, the partitions beside each
// other. It ends early when partitions are to move and a moment has passed.
// What it could not carry is polled again. It returns why, if the sink said no.
func (r *run) take(ctx context.Context, fetches kgo.Fetches) error {
	working, stop := context.WithCancel(ctx)
	var watch, work sync.WaitGroup
	watch.Go(func() {
		select {
		case <-working.Done():
			return
		case <-r.hurry:
		}
		grace := time.NewTimer(r.set.rebalance / 4)
		defer grace.Stop()
		select {
		case <-working.Done():
		case <-grace.C:
			stop()
		}
	})
	var mu sync.Mutex
	var refusal error
	rewind := make(map[int32]kgo.EpochOffset)
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		work.Go(func() {
			done, err := r.partition(working, p.Records)
			mu.Lock()
			defer mu.Unlock()
			if done > 0 {
				r.note(p.Partition, p.Records[done-1], done)
			}
			if done < len(p.Records) {
				next := p.Records[done]
				rewind[p.Partition] = kgo.EpochOffset{Epoch: next.LeaderEpoch, Offset: next.Offset}
			}
			if err != nil && working.Err() == nil {
				refusal = err
			}
		})
	})
	work.Wait()
	stop()
	watch.Wait()
	if len(rewind) > 0 {
		r.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{r.set.topic: rewind})
	}
	return refusal
}

// partition carries records to the sink in their order, as many at once as
// make sense together, and returns how many are done.
func (r *run) partition(ctx context.Context, records []*kgo.Record) (done int, err error) {
	alone := 0 // the sink refused some of so many together as Invalid
	for done < len(records) {
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
		if n, notices := r.together(records[done:]); n > 1 && alone == 0 {
			switch err := r.deliver(ctx, notices); {
			case err == nil:
				done += n
				continue
			case !fault.Is(err, fault.Invalid):
				if ctx.Err() == nil {
					r.meter.Refused(err)
				}
				return done, err
			}
			alone = n
		}
		rec := records[done]
		_, err := r.meter.Take(ctx, r.sink, r.name, events.Message{
			ID: fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset), Body: rec.Value,
			Parse: func() ([]events.Notice, error) { return r.set.parse(rec.Value) },
		}, 0)
		if err != nil {
			return done, err
		}
		done, alone = done+1, max(alone-1, 0)
	}
	return done, nil
}

func (r *run) deliver(ctx context.Context, notices []events.Notice) error {
	if len(notices) == 0 {
		return nil
	}
	return r.sink.Deliver(ctx, r.name, notices)
}

// together returns how many records from the first on can be understood and
// make no more than events.MaxNotices notices, and those.
func (r *run) together(records []*kgo.Record) (n int, all []events.Notice) {
	for _, rec := range records {
		notices, err := r.set.parse(rec.Value)
		if err != nil || len(all)+len(notices) > events.MaxNotices {
			break
		}
		all = append(all, notices...)
		n++
	}
	return n, all
}

// note notes that the records up to last are done.
func (r *run) note(partition int32, last *kgo.Record, count int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[partition] = pending{last: last, count: r.pending[partition].count + count}
}

// commit commits what is done, after the end of ctx too. What could not be
// committed is tried again after the next poll, unless the partition has moved:
// then its new owner gets these records again, which changes nothing.
func (r *run) commit(ctx context.Context) error {
	r.mu.Lock()
	var last []*kgo.Record
	count := 0
	for _, p := range r.pending {
		last = append(last, p.last)
		count += p.count
	}
	r.mu.Unlock()
	if len(last) == 0 {
		return nil
	}
	bounded, cancel := events.Detached(ctx)
	defer cancel()
	if err := r.client.CommitRecords(bounded, last...); err != nil {
		if err = fail(context.WithoutCancel(ctx), "kafka.Commit", r.set.topic, err); fault.Is(err, fault.Changed) {
			r.forget()
		}
		return err
	}
	r.meter.Acked(count)
	r.forget()
	return nil
}

func (r *run) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.pending)
}

// moved forgets what belongs to partitions that others have now.
func (r *run) moved(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range gone[r.set.topic] {
		delete(r.pending, p)
	}
}
