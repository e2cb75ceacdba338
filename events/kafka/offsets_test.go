package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/landwaiter/landwaiter/events/eventstest"
)

// groupOffsets asks what the group has committed.
func (c *cluster) groupOffsets(t *testing.T) []kmsg.OffsetFetchResponseGroupTopicPartition {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = "landwaiter"
	req.Group = group.Group
	req.Groups = append(req.Groups, group)
	var resp *kmsg.OffsetFetchResponse
	eventstest.Until(t, "the group's offsets are told", func() (told bool) { // a connection may be an old one
		var err error
		resp, err = req.RequestWith(t.Context(), c.client)
		return err == nil
	})
	var out []kmsg.OffsetFetchResponseGroupTopicPartition
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			t.Logf("group: %v", err)
		}
		for _, tp := range g.Topics {
			out = append(out, tp.Partitions...)
		}
	}
	return out
}
