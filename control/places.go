package control

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/landwaiter/landwaiter/connectors"
)

// A place is a storage, or the account it is in, in connectors' words.
type place struct {
	url     url.URL
	options map[string]string
	reach   []string // addresses that the credentials name
	machine bool     // it is reached with this machine's own identity
}

// unit returns it as a unit.
func (p place) unit(name string) connectors.Unit {
	return connectors.Unit{Name: name, URL: p.url.String(), Options: p.options}
}

var (
	s3Secrets    = []string{"AccessKeyId", "SecretAccessKey", "SessionToken"}
	azureSecrets = []string{"ClientSecret", "AccountKey"}
	gcsSecrets   = []string{credentialsFile}
	smbSecrets   = []string{"Password"}
)

var (
	bucketName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,221}$`)
	containerName = regexp.MustCompile(`^[a-z0-9$][a-z0-9-]{1,62}$`)
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	hostName      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$`)
)

// amazonAccount is Amazon S3 itself, or wherever its ServiceUrl points.
func amazonAccount(c fields) (place, error) {
	p := place{url: url.URL{Scheme: "s3"}, options: map[string]string{}}
	q := url.Values{}
	if at := c.get("ServiceUrl"); at != "" && !amazons(at) {
		q.Set("endpoint", strings.TrimRight(at, "/"))
		p.reach = append(p.reach, at)
	}
	if region := c.get("RegionEndpoint"); region != "" {
		q.Set("region", region)
	}
	p.url.RawQuery = q.Encode()
	key, secret := c.get("AccessKeyId"), c.get("SecretAccessKey")
	switch {
	case c.flag("UseIamRole"):
		p.machine = true
	case key == "" || secret == "":
		return p, wrongField("Credentials", "AccessKeyId and SecretAccessKey are needed, or UseIamRole")
	default:
		p.options["access_key"], p.options["secret_key"] = key, secret
		if t := c.get("SessionToken"); t != "" {
			p.options["session_token"] = t
		}
	}
	if role := c.get("AssumeRoleArn"); role != "" {
		p.options["role"] = role
	}
	return p, nil
}

// amazons reports whether an address is Amazon's own, which needs no endpoint.
func amazons(at string) bool {
	u, err := url.Parse(at)
	return err == nil && u.Scheme == "https" && (strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn"))
}

// compatibleAccount is a server that speaks S3.
func compatibleAccount(c fields) (place, error) {
	if _, err := c.need("ServiceUrl"); err != nil {
		return place{}, err
	}
	return amazonAccount(c)
}

func s3Bucket(p place, source fields) (place, error) {
	name, err := source.need("BucketName")
	if err == nil && !bucketName.MatchString(name) {
		err = wrongField("BucketName", "no bucket can have this name")
	}
	p.url.Host, p.url.Path = name, below(source.get("FolderLocation"))
	return p, err
}

// below is a folder as the path of a URL.
func below(folder string) string {
	if folder = strings.Trim(folder, "/"); folder == "" {
		return ""
	}
	return "/" + folder
}

// azureAccount is a storage account, with a service principal or its key.
func azureAccount(c fields) (place, error) {
	p := place{url: url.URL{Scheme: "azblob"}, options: map[string]string{}}
	name, err := c.need("StorageAccount")
	if err != nil {
		return p, err
	}
	if !accountName.MatchString(name) {
		return p, wrongField("StorageAccount", "want its name, of 3 to 24 small letters and digits")
	}
	p.url.Host = name
	if at := c.get("ServiceUrl"); at != "" {
		p.url.RawQuery = url.Values{"endpoint": {strings.TrimRight(at, "/")}}.Encode()
		p.reach = append(p.reach, at)
	}
	if key := c.get("AccountKey"); key != "" {
		p.options["key"] = key
		return p, nil
	}
	for option, field := range map[string]string{"tenant_id": "TenantId", "client_id": "ClientId", "client_secret": "ClientSecret"} {
		if p.options[option], err = c.need(field); err != nil {
			return p, err
		}
	}
	return p, nil
}

func azureContainer(p place, source fields) (place, error) {
	name, err := source.need("Container")
	if err == nil && !containerName.MatchString(name) {
		err = wrongField("Container", "no container can have this name")
	}
	p.url.Path = "/" + name + below(source.get("FolderLocation"))
	return p, err
}

// smbServer is a server of shares.
func smbServer(c fields) (place, error) {
	p := place{url: url.URL{Scheme: "smb"}, options: map[string]string{}}
	server, err := c.need("Server")
	if err != nil {
		return p, err
	}
	host, port, err := net.SplitHostPort(strings.TrimLeft(server, `\/`))
	if err != nil {
		host, port = strings.Trim(server, `\/[]`), "445"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || !hostName.MatchString(host) && net.ParseIP(host) == nil {
		return p, wrongField("Server", "want a host, or host:port")
	}
	p.url.Host = net.JoinHostPort(host, port)
	p.reach = append(p.reach, "https://"+p.url.Host) // the guard speaks of web addresses
	if p.options["user"], err = c.need("User"); err != nil {
		return p, err
	}
	p.options["password"] = c["password"]
	for option, field := range map[string]string{"domain": "Domain", "encrypt": "Encryption", "sign": "Signing"} {
		if v := c.get(field); v != "" {
			p.options[option] = v
		}
	}
	return p, nil
}

// smbShare takes share/folder, also as \\server\share\folder.
func smbShare(p place, source fields) (place, error) {
	path, err := source.need("SharePath")
	path = strings.ReplaceAll(path, `\`, "/")
	if named, ok := strings.CutPrefix(path, "//"); ok {
		server, rest, _ := strings.Cut(named, "/")
		if !strings.EqualFold(server, p.url.Hostname()) && !strings.EqualFold(server, p.url.Host) {
			return p, wrongField("SharePath", "names another server")
		}
		path = rest
	}
	if p.url.Path = below(path); err == nil && p.url.Path == "" {
		err = wrongField("SharePath", "names no share")
	}
	return p, err
}

func localBase(fields) (place, error) { return place{url: url.URL{Scheme: "file"}, machine: true}, nil }

// localFolder is a folder of this machine; whether it may be one, Connect says.
func localFolder(p place, source fields) (place, error) {
	path, err := source.need("FolderPath")
	if err == nil && (!strings.HasPrefix(path, "/") || strings.Contains(path, "\x00")) {
		err = wrongField("FolderPath", "want an absolute path")
	}
	p.url.Path = path
	return p, err
}

// errMachine refuses this machine's identity and disk to all but its own tenant.
var errMachine = errors.New("only the default tenant may use the identity or the folders of the machine that landwaiter runs on")
