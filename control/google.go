package control

import (
	"encoding/json"
	"net/url"
	"strings"
)

// googleAccount is Google Cloud Storage with a service account's key, or with
// what the machine has.
func googleAccount(c fields) (place, error) {
	p := place{url: url.URL{Scheme: "gs"}, options: map[string]string{}}
	at, file, project := c.get("ServiceUrl"), c[credentialsFile], c.get("ProjectId")
	if at != "" {
		p.url.RawQuery = url.Values{"endpoint": {strings.TrimRight(at, "/")}}.Encode()
		p.reach = append(p.reach, at)
	}
	switch {
	case c.flag("Anonymous"):
		p.options["anonymous"] = "true"
	case c.flag("UseAdc") && at != "":
		return p, wrongField("ServiceUrl", "this machine's own token is for Google alone: it excludes UseAdc")
	case c.flag("UseAdc"):
		p.machine = true
	case file == "":
		return p, wrongField("CredentialsFile", "is needed, or UseAdc")
	default:
		var err error
		if project, err = serviceAccount(file, &p, project); err != nil {
			return p, err
		}
		p.options["credentials_json"] = file
	}
	if project != "" {
		q := p.url.Query()
		q.Set("project", project)
		p.url.RawQuery = q.Encode()
	}
	return p, nil
}

// serviceAccount checks a credentials file. Of the kinds that there are only a
// service account's key names no file, command or other service to ask.
func serviceAccount(file string, p *place, project string) (string, error) {
	var key struct {
		Type     string `json:"type"`
		TokenURI string `json:"token_uri"`
		Universe string `json:"universe_domain"`
		Project  string `json:"project_id"`
	}
	if err := json.Unmarshal([]byte(file), &key); err != nil {
		return "", wrongField("CredentialsFile", "is not JSON")
	}
	switch {
	case key.Type != "service_account":
		return "", wrongField("CredentialsFile", "want the key of a service account")
	case key.Universe != "" && key.Universe != "googleapis.com":
		return "", wrongField("CredentialsFile", "want universe_domain googleapis.com")
	}
	if key.TokenURI != "" {
		p.reach = append(p.reach, key.TokenURI)
	}
	if project == "" {
		project = key.Project
	}
	return project, nil
}

// gcsBucket leaves out the project, which is of the account alone.
func gcsBucket(p place, source fields) (place, error) {
	q := p.url.Query()
	q.Del("project")
	p.url.RawQuery = q.Encode()
	return s3Bucket(p, source)
}

// CheckServiceAccount checks a credentials file that came by another way than an
// operation of ours, and returns the addresses that it has us ask.
func CheckServiceAccount(file string) ([]string, error) {
	var p place
	_, err := serviceAccount(file, &p, "")
	return p.reach, err
}
