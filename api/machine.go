package api

import (
	"context"
	"net/http"
	"time"

	"github.com/landwaiter/landwaiter/control"
)

func (a *API) health() {
	const tag = "Health"
	type healthy struct {
		Status int
		Body   struct {
			APIStatus string            `json:"apiStatus" enum:"Healthy,Unhealthy" example:"Healthy"`
			Parts     map[string]string `json:"parts,omitempty" doc:"With verbose, to users who may look: what was looked at, and what is wrong with it."`
		}
	}
	register(a, Op{ID: "getHealth", Method: "GET", Path: "/api/health", Action: "health.look", Tag: tag, Summary: "Get the health status",
		About: "200 while the daemon works, 503 while it does not. The parts are shown to users who may look at everything.", Errors: []int{503}},
		func(ctx context.Context, in *struct {
			Verbose bool `query:"verbose"`
		}) (*healthy, error) {
			ok, parts, err := a.c.Health(ctx)
			out := &healthy{Status: http.StatusOK}
			out.Body.APIStatus = "Healthy"
			if !ok {
				out.Status, out.Body.APIStatus = http.StatusServiceUnavailable, "Unhealthy"
			}
			if in.Verbose && parts != nil {
				out.Body.Parts = map[string]string{}
				for _, p := range parts {
					out.Body.Parts[p.Name] = "ok"
					if p.Err != nil {
						out.Body.Parts[p.Name] = p.Err.Error()
					}
				}
			}
			return out, err
		})
}

func (a *API) onboarding() {
	const tag = "Onboarding"
	type state struct {
		Body struct {
			Envelope
			HasUserConfigured         bool `json:"hasUserConfigured"`
			HasStorageConfigured      bool `json:"hasStorageConfigured"`
			HasScanInstanceConfigured bool `json:"hasScanInstanceConfigured"`
			IsOnboardingDone          bool `json:"isOnboardingDone"`
			IsEulaAgreed              bool `json:"isEulaAgreed"`
			IsCloudType               bool `json:"isCloudType"`
		}
	}
	register(a, Op{ID: "getOnboarding", Method: "GET", Path: "/api/onboarding", Action: "onboarding.look", Tag: tag, Summary: "Fetch how far the first steps are",
		About: "Needs no token: a first visitor has none."},
		func(ctx context.Context, _ *struct {
			NewConfigSetup     bool `query:"newConfigSetup" doc:"Taken and not needed: the built-in workflow is there from the start."`
			NewDefaultWorkflow bool `query:"newDefaultWorkflow" doc:"As newConfigSetup."`
		}) (*state, error) {
			o, err := a.c.Onboarding(ctx)
			out := &state{}
			b := &out.Body
			b.Envelope, b.HasUserConfigured, b.HasStorageConfigured, b.HasScanInstanceConfigured = done(), o.User, o.Storage, o.Instance
			b.IsOnboardingDone, b.IsEulaAgreed = !o.Done.IsZero(), !o.EULA.IsZero()
			return out, err
		})
	register(a, Op{ID: "finishOnboarding", Method: "POST", Path: "/api/onboarding", Action: "onboarding.go", Tag: tag, Summary: "Finish onboarding"},
		func(ctx context.Context, _ *struct{}) (*Done, error) { return &Done{done()}, a.c.Onboard(ctx, false) })
	register(a, Op{ID: "acceptEula", Method: "POST", Path: "/api/onboarding/eula", Action: "onboarding.go", Tag: tag, Summary: "Accept the licence terms",
		About: "Landwaiter is under the Apache License 2.0 and asks for no agreement; that it was given is kept for callers who look for it."},
		func(ctx context.Context, _ *struct{}) (*Done, error) { return &Done{done()}, a.c.Onboard(ctx, true) })
}

func (a *API) license() {
	const tag = "License"
	none := func() Envelope {
		e := done()
		e.ResponseKey, e.ResponseMessage = "LICENSE_NOT_NEEDED", "No license is needed: everything is enabled, and nothing was kept of what was sent."
		return e
	}
	type details struct {
		Body struct {
			Envelope
			APIStatus     string `json:"apiStatus" example:"Healthy"`
			LicenseNeeded bool   `json:"licenseNeeded"`
			License       string `json:"license" example:"Apache-2.0"`
		}
	}
	register(a, Op{ID: "getLicense", Method: "GET", Path: "/api/settings/admin/license", Action: "license.look", Tag: tag, Summary: "Get license details"},
		func(ctx context.Context, _ *struct{}) (*details, error) {
			out := &details{}
			out.Body.Envelope, out.Body.APIStatus, out.Body.License = none(), "Healthy", "Apache-2.0"
			return out, a.c.License(ctx, "")
		})
	register(a, Op{ID: "activateLicenseOnline", Method: "POST", Path: "/api/settings/admin/license/activate/online", Action: "license.offer", Tag: tag,
		Summary: "Activate a license online", About: "None is needed. No outside service is asked."},
		func(ctx context.Context, _ *struct {
			Body struct {
				Key string `json:"key" minLength:"1" maxLength:"4096"`
			}
		}) (*Done, error) {
			return &Done{none()}, a.c.License(ctx, "online")
		})
	register(a, Op{ID: "activateLicenseOffline", Method: "POST", Path: "/api/settings/admin/license/activate/offline", Action: "license.offer", Tag: tag,
		Summary: "Activate a license offline", About: "None is needed.", Form: []field{{"LicenseContent", "binary", true}}},
		func(ctx context.Context, in *struct{ Form }) (*Done, error) {
			if len(in.File("LicenseContent")) == 0 {
				return nil, newProblem(http.StatusBadRequest, "LicenseContent is needed")
			}
			return &Done{none()}, a.c.License(ctx, "offline")
		})
	register(a, Op{ID: "deactivateLicense", Method: "POST", Path: "/api/settings/admin/license/deactivate", Action: "license.offer", Tag: tag, Summary: "Deactivate the license"},
		func(ctx context.Context, _ *struct{}) (*Done, error) {
			return &Done{none()}, a.c.License(ctx, "deactivate")
		})
}

func (a *API) encryption() {
	const tag = "Encryption"
	register(a, Op{ID: "generateEncryptionKey", Method: "POST", Path: "/api/settings/encryption/generate", Action: "encryption.rotate", Tag: tag,
		Summary: "Generate an encryption key", About: "Seals all kept secrets with a new key. Where the key is given by the configuration, it is changed there. Tokens stay good until the daemon starts again."},
		func(ctx context.Context, _ *struct{}) (*Done, error) { return &Done{done()}, a.c.RotateKey(ctx) })
	type date struct {
		Body struct {
			Envelope
			CreationDate time.Time `json:"creationDate"`
		}
	}
	register(a, Op{ID: "getEncryptionKeyDate", Method: "GET", Path: "/api/settings/encryption/creation-date", Action: "encryption.look", Tag: tag, Summary: "Get the creation date of the encryption key"},
		func(ctx context.Context, _ *struct{}) (*date, error) {
			at, err := a.c.KeyMade(ctx)
			out := &date{}
			out.Body.Envelope, out.Body.CreationDate = done(), at.UTC()
			return out, err
		})
}

func (a *API) ocm() {
	const tag = "OCM"
	type state struct {
		Body struct {
			Envelope
			IsEnrolled bool       `json:"isEnrolled"`
			EnrolledAt *time.Time `json:"enrolledAt,omitempty"`
			ServerURL  string     `json:"serverUrl"`
			Name       string     `json:"name"`
			IsManaged  bool       `json:"isManaged"`
		}
	}
	look := func(ctx context.Context, _ *struct{}) (*state, error) {
		o, err := a.c.OCM(ctx)
		out := &state{}
		b := &out.Body
		b.Envelope, b.IsEnrolled, b.ServerURL, b.Name, b.IsManaged = done(), !o.Enrolled.IsZero(), o.Server, o.Name, o.Managed
		if b.IsEnrolled {
			b.EnrolledAt = &o.Enrolled
		}
		return out, err
	}
	const about = "The state is kept and answered. Landwaiter calls no management server."
	register(a, Op{ID: "getOcm", Method: "GET", Path: "/api/ocm", Action: "ocm.look", Tag: tag, Summary: "Get the OCM configuration", About: about}, look)
	register(a, Op{ID: "enrollOcm", Method: "PUT", Path: "/api/ocm", Action: "ocm.set", Tag: tag, Summary: "Enroll to OCM", About: about},
		func(ctx context.Context, in *struct {
			Body struct {
				ServerURL string `json:"serverUrl,omitempty" maxLength:"2048" format:"uri"`
				Name      string `json:"name,omitempty" maxLength:"255"`
				RegCode   string `json:"regCode,omitempty" maxLength:"255" doc:"Not kept."`
			}
		}) (*Done, error) {
			return &Done{done()}, a.c.SetOCM(ctx, "enroll", func(o *control.OCM) { o.Enrolled, o.Server, o.Name = time.Now().UTC(), in.Body.ServerURL, in.Body.Name })
		})
	register(a, Op{ID: "unenrollOcm", Method: "POST", Path: "/api/ocm", Action: "ocm.set", Tag: tag, Summary: "Unenroll from OCM", About: about},
		func(ctx context.Context, _ *struct{}) (*Done, error) {
			return &Done{done()}, a.c.SetOCM(ctx, "unenroll", func(o *control.OCM) { *o = control.OCM{} })
		})
	register(a, Op{ID: "getOcmManaged", Method: "GET", Path: "/api/ocm/manage", Action: "ocm.look", Tag: tag, Summary: "Get the managed status", About: about}, look)
	register(a, Op{ID: "setOcmManaged", Method: "POST", Path: "/api/ocm/manage", Action: "ocm.set", Tag: tag, Summary: "Set the managed status", About: about},
		func(ctx context.Context, _ *struct{}) (*Done, error) {
			return &Done{done()}, a.c.SetOCM(ctx, "manage", func(o *control.OCM) { o.Managed = true })
		})
	register(a, Op{ID: "deleteOcmManaged", Method: "DELETE", Path: "/api/ocm/manage", Action: "ocm.set", Tag: tag, Summary: "Delete the managed status", About: about},
		func(ctx context.Context, _ *struct{}) (*Done, error) {
			return &Done{done()}, a.c.SetOCM(ctx, "release", func(o *control.OCM) { o.Managed = false })
		})
}
