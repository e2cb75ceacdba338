package api

import (
	"context"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/ledger"
	"github.com/landwaiter/landwaiter/scan"
)

// A ScanPool is a group of engines.
type ScanPool struct {
	ID            string         `json:"id" format:"uuid"`
	Name          string         `json:"name" example:"Core cluster"`
	ScanPoolType  int            `json:"scanPoolType" enum:"0,1" doc:"0 MdCore, 1 MdCloud."`
	IsDefault     bool           `json:"isDefault" doc:"The default workflow asks it."`
	IsManaged     bool           `json:"isManaged" doc:"It stands in the configuration file, which alone changes it."`
	IsReady       bool           `json:"isReady" doc:"Some instance can take work now."`
	ScanInstances []ScanInstance `json:"scanInstances"`
}

// A ScanInstance is an engine at an address.
type ScanInstance struct {
	ID               string          `json:"id" format:"uuid"`
	ScanPoolID       string          `json:"scanPoolId" format:"uuid"`
	URL              string          `json:"url" example:"https://core.example.org:8008"`
	APIKey           string          `json:"apiKey" doc:"Always empty: a key is taken and not given back."`
	Timeout          string          `json:"timeout" doc:"Of one file, hours:minutes:seconds; empty is the engine's own." example:"00:15:00"`
	ScanInstanceType int             `json:"scanInstanceType" enum:"0,1" doc:"0 MdCore, 1 MdCloud."`
	Health           *InstanceHealth `json:"health,omitempty" doc:"Absent while it is not in use."`
}

// InstanceHealth is how an instance is.
type InstanceHealth struct {
	Ready       bool   `json:"ready"`
	Detail      string `json:"detail" doc:"Why not, or what its answers are worth."`
	Version     string `json:"version"`
	Definitions string `json:"definitions"`
	InFlight    int    `json:"inFlight" doc:"Files that it has in work."`
	Scans       uint64 `json:"scans" doc:"Since it came into use."`
	Failed      uint64 `json:"failed"`
}

func healthOf(st *scan.InstanceStatus) *InstanceHealth {
	if st == nil {
		return nil
	}
	return &InstanceHealth{Ready: st.Ready, Detail: st.Detail, Version: st.Health.Version, Definitions: st.Health.Definitions, InFlight: st.InFlight,
		Scans: st.Scans, Failed: st.Failed}
}

func instanceOf(in control.ScanInstance) ScanInstance {
	return ScanInstance{ID: in.ID.String(), ScanPoolID: in.Pool.String(), URL: in.URL, Timeout: formatSpan(in.Timeout), ScanInstanceType: in.Type, Health: healthOf(in.Status)}
}

func poolOf(p control.ScanPool) ScanPool {
	out := ScanPool{ID: p.ID.String(), Name: p.Name, ScanPoolType: p.Type, IsDefault: p.Default, IsManaged: p.Managed, IsReady: p.Status != nil && p.Status.Ready,
		ScanInstances: []ScanInstance{}}
	for _, in := range p.All() {
		out.ScanInstances = append(out.ScanInstances, instanceOf(in))
	}
	return out
}

type byID struct {
	ID ID `path:"id"`
}

type poolAdded struct {
	Body struct {
		Envelope
		ScanPoolID string `json:"scanPoolId" format:"uuid"`
	}
}

func (a *API) scanPools() {
	const tag = "Scan Pools"
	register(a, Op{ID: "listScanPools", Method: "GET", Path: "/api/scanpool", Action: "pool.list", Tag: tag, Summary: "Get scan pools",
		About: "Those of the configuration file come first and say isManaged."},
		func(ctx context.Context, _ *struct{}) (*entries[ScanPool], error) {
			list, err := a.c.ScanPools(ctx)
			return listed(list, poolOf), err
		})
	register(a, Op{ID: "getScanPool", Method: "GET", Path: "/api/scanpool/{id}", Action: "pool.list", Tag: tag, Summary: "Get a scan pool by its id", Errors: []int{404}},
		func(ctx context.Context, in *byID) (*one[ScanPool], error) {
			p, err := a.c.ScanPool(ctx, in.ID.ID)
			return single(poolOf(p), err)
		})
	register(a, Op{ID: "addScanPool", Method: "POST", Path: "/api/scanpool", Action: "pool.add", Tag: tag, Summary: "Add a scan pool",
		About: "It scans as soon as it has an instance. MetaDefender Cloud (type 1) is refused.", Errors: []int{409}},
		func(ctx context.Context, in *struct {
			Body struct {
				Name         string `json:"name" minLength:"3" maxLength:"30" example:"Core cluster"`
				ScanPoolType int    `json:"scanPoolType,omitempty" enum:"0,1" doc:"0 MdCore, 1 MdCloud."`
			}
		}) (*poolAdded, error) {
			n, err := a.c.AddScanPool(ctx, in.Body.Name, in.Body.ScanPoolType)
			out := &poolAdded{}
			out.Body.Envelope, out.Body.ScanPoolID = done(), n.ID.String()
			return out, err
		})
	register(a, Op{ID: "updateScanPool", Method: "PUT", Path: "/api/scanpool", Action: "pool.set", Tag: tag, Summary: "Update a scan pool", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				ID   ID     `json:"id"`
				Name string `json:"name" minLength:"3" maxLength:"30" example:"Core cluster"`
			}
		}) (*Done, error) {
			_, err := a.c.SetScanPool(ctx, in.Body.ID.ID, in.Body.Name)
			return &Done{done()}, err
		})
	register(a, Op{ID: "deleteScanPool", Method: "DELETE", Path: "/api/scanpool/{id}", Action: "pool.remove", Tag: tag, Summary: "Delete a scan pool and its instances",
		About: "One that a workflow asks is not deleted. What is being scanned comes to its end.", Errors: []int{404, 409}},
		func(ctx context.Context, in *byID) (*Done, error) {
			return &Done{done()}, a.c.RemoveScanPool(ctx, in.ID.ID)
		})
	a.scanInstances()
}

type instanceAdded struct {
	Body struct {
		Envelope
		ScanInstanceID string `json:"scanInstanceId" format:"uuid"`
	}
}

func (a *API) scanInstances() {
	const tag = "Scan Instances"
	const urls = "http:// and https:// are MetaDefender Core's; mdcore://, mdcores://, clamd://host:port, clamd:///socket and builtin: are possible too."
	register(a, Op{ID: "listScanInstances", Method: "GET", Path: "/api/scaninstance", Action: "pool.list", Tag: tag, Summary: "Get scan instances", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			ScanPoolID string `query:"scanPoolId" maxLength:"64" doc:"Those of this pool alone."`
		}) (*entries[ScanInstance], error) {
			var pool *ledger.ID
			if in.ScanPoolID != "" {
				var id ID
				_ = id.UnmarshalText([]byte(in.ScanPoolID)) // what is no id is nothing's
				pool = &id.ID
			}
			list, err := a.c.ScanInstances(ctx, pool)
			return listed(list, instanceOf), err
		})
	register(a, Op{ID: "getScanInstance", Method: "GET", Path: "/api/scaninstance/{id}", Action: "pool.list", Tag: tag, Summary: "Get a scan instance by its id", Errors: []int{404}},
		func(ctx context.Context, in *byID) (*one[ScanInstance], error) {
			s, err := a.c.ScanInstance(ctx, in.ID.ID)
			return single(instanceOf(s), err)
		})
	register(a, Op{ID: "addScanInstance", Method: "POST", Path: "/api/scaninstance", Action: "pool.add_instance", Tag: tag, Summary: "Add a scan instance to a pool",
		About: urls + " It is in use at once; scans that run at other instances are not disturbed.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				ScanPoolID       ID     `json:"scanPoolId"`
				URL              string `json:"url" minLength:"1" maxLength:"2048" example:"https://core.example.org:8008"`
				APIKey           string `json:"apiKey,omitempty" maxLength:"1024"`
				Timeout          string `json:"timeout,omitempty" maxLength:"32" example:"00:15:00"`
				ScanInstanceType int    `json:"scanInstanceType,omitempty" enum:"0,1" doc:"0 MdCore, 1 MdCloud."`
			}
		}) (*instanceAdded, error) {
			t, err := timeout(in.Body.Timeout)
			if err != nil {
				return nil, err
			}
			id, err := a.c.AddScanInstance(ctx, in.Body.ScanPoolID.ID, control.Instance{URL: in.Body.URL, APIKey: in.Body.APIKey, Timeout: t, Type: in.Body.ScanInstanceType})
			out := &instanceAdded{}
			out.Body.Envelope, out.Body.ScanInstanceID = done(), id.String()
			return out, err
		})
	register(a, Op{ID: "updateScanInstance", Method: "PUT", Path: "/api/scaninstance", Action: "pool.set_instance", Tag: tag, Summary: "Update a scan instance",
		About: urls + " What is not given stays; with another URL the API key must be given again. An empty apiKey takes it away.", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				ID      ID      `json:"id"`
				URL     *string `json:"url,omitempty" minLength:"1" maxLength:"2048"`
				APIKey  *string `json:"apiKey,omitempty" maxLength:"1024"`
				Timeout *string `json:"timeout,omitempty" maxLength:"32" example:"00:15:00"`
			}
		}) (*Done, error) {
			ch := control.InstanceChange{URL: in.Body.URL, APIKey: in.Body.APIKey}
			if in.Body.Timeout != nil {
				t, err := timeout(*in.Body.Timeout)
				if err != nil {
					return nil, err
				}
				ch.Timeout = &t
			}
			return &Done{done()}, a.c.SetScanInstance(ctx, in.Body.ID.ID, ch)
		})
	register(a, Op{ID: "deleteScanInstance", Method: "DELETE", Path: "/api/scaninstance/{id}", Action: "pool.remove_instance", Tag: tag, Summary: "Delete a scan instance",
		About: "What it is scanning comes to its end.", Errors: []int{404}},
		func(ctx context.Context, in *byID) (*Done, error) {
			return &Done{done()}, a.c.RemoveScanInstance(ctx, in.ID.ID)
		})
	a.testInstance(tag)
}

type tested struct {
	Body struct {
		Envelope
		Version             string   `json:"version"`
		Rules               []string `json:"rules" doc:"That the instance has for us; empty if it does not say."`
		Engines             []string `json:"engines" doc:"That are active in it."`
		EnabledTechnologies []string `json:"enabledTechnologies"`
	}
}

func (a *API) testInstance(tag string) {
	register(a, Op{ID: "testScanInstance", Method: "POST", Path: "/api/scaninstance/Test", Action: "pool.test", Tag: tag, Summary: "Test a scan instance",
		About: "Connects, within 10 seconds, and asks for version, rules and engines with the API key. Nothing is stored. What is wrong is in responseMessage.", Errors: []int{503}},
		func(ctx context.Context, in *struct {
			Body struct {
				URL       string   `json:"url" minLength:"1" maxLength:"2048" example:"https://core.example.org:8008"`
				Rules     []string `json:"rules,omitempty" maxItems:"50" doc:"That must be there."`
				APIKey    string   `json:"apiKey,omitempty" maxLength:"1024"`
				UserAgent string   `json:"userAgent,omitempty" maxLength:"255"`
			}
		}) (*tested, error) {
			t, err := a.c.TestScanInstance(ctx, in.Body.URL, in.Body.APIKey, in.Body.UserAgent, in.Body.Rules)
			out := &tested{}
			out.Body.Envelope, out.Body.Version = done(), t.Version
			out.Body.Rules, out.Body.Engines, out.Body.EnabledTechnologies = some(t.Rules), some(t.Engines), some(t.Technologies)
			return out, err
		})
}

// some is a list that is never null.
func some[T any](list []T) []T { return append([]T{}, list...) }
