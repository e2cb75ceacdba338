package daemon

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/landwaiter/landwaiter/connectors"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/pipeline"
)

// metrics are the daemon's own numbers. Labels are units, verdicts and reasons:
// bounded, and never a key.
type metrics struct {
	registry *prometheus.Registry
	finished *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	actions  *prometheus.CounterVec
	sweeps   *prometheus.CounterVec
	listed   *prometheus.CounterVec
	calls    *prometheus.CounterVec
	notices  *prometheus.CounterVec
}

func newMetrics(backlog func(context.Context) map[string]float64) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		finished: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "landwaiter_entries_finished_total",
			Help: "Entries that reached their end."}, []string{"unit", "verdict", "reason", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "landwaiter_entry_seconds",
			Help: "From discovery to the durable end of an entry.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 10)}, []string{"unit"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "landwaiter_scanned_bytes_total",
			Help: "Bytes of objects with a verdict."}, []string{"unit"}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "landwaiter_actions_total",
			Help: "Steps of remediation by their end."}, []string{"unit", "action", "state"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "landwaiter_sweeps_total",
			Help: "Sweeps by how they ended."}, []string{"unit", "result"}),
		listed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "landwaiter_sweep_objects_total",
			Help: "Objects that sweeps listed."}, []string{"unit"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "landwaiter_storage_calls_total",
			Help: "Calls to storages by how they ended."}, []string{"unit", "call", "result"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "landwaiter_notices_total",
			Help: "What sources and hooks told, by whether it lies in a unit."}, []string{"source", "matched"}),
	}
	m.registry.MustRegister(m.finished, m.latency, m.bytes, m.actions, m.sweeps, m.listed, m.calls, m.notices,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), pendingCollector{backlog})
	return m
}

func (m *metrics) entry(e *ledger.Entry) {
	m.finished.WithLabelValues(e.UnitName, e.Verdict.String(), string(e.Reason), string(e.Outcome)).Inc()
	m.latency.WithLabelValues(e.UnitName).Observe(e.Finished.Sub(e.Discovered).Seconds())
	if len(e.SHA256) > 0 && e.Size > 0 {
		m.bytes.WithLabelValues(e.UnitName).Add(float64(e.Size))
	}
	for _, s := range e.Plan {
		m.actions.WithLabelValues(e.UnitName, string(s.Action), string(s.State)).Inc()
	}
}

func (m *metrics) notice(source string, matched bool) {
	m.notices.WithLabelValues(source, strconv.FormatBool(matched)).Inc()
}

// Observe implements connectors.Observer.
func (m *metrics) Observe(c connectors.Call) {
	result := "ok"
	if c.Err != nil {
		result = fault.KindOf(c.Err).String()
	}
	m.calls.WithLabelValues(c.Unit, c.Op, result).Inc()
}

func (m *metrics) swept(unit string, s pipeline.SweepStats, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.sweeps.WithLabelValues(unit, result).Inc()
	m.listed.WithLabelValues(unit).Add(float64(s.Listed))
}

// pendingCollector counts what waits, when asked.
type pendingCollector struct {
	backlog func(context.Context) map[string]float64
}

var pendingDesc = prometheus.NewDesc("landwaiter_entries_pending", "Entries that are not finished.", []string{"unit"}, nil)

// Describe implements prometheus.Collector.
func (pendingCollector) Describe(c chan<- *prometheus.Desc) { c <- pendingDesc }

// Collect implements prometheus.Collector.
func (p pendingCollector) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), checkWithin)
	defer cancel()
	for unit, n := range p.backlog(ctx) {
		c <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, n, unit)
	}
}
