package webhook

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // SNS's signature version 1 is of it
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"regexp"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Where SNS's certificates are: a host of Amazon, this kind of file, and nothing
// else. The hosts of SNS answer other requests too, with words of the caller's
// choice.
var (
	snsHost = regexp.MustCompile(`^sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$`)
	snsPath = regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]{1,64}\.pem$`)
)

// The bounds of the certificates that are kept.
const (
	certsMax = 32
	certFor  = 24 * time.Hour
)

// certs fetches SNS's signing certificates and keeps them. An attacker can name
// any number of them, so fetches are rare, and one failing keeps none from use
// that is here already.
type certs struct {
	world
	rate *rate.Limiter // of fetches

	fetching gate
	mu       sync.Mutex
	kept     map[string]cert // by URL
}

type cert struct {
	key   *rsa.PublicKey
	until time.Time
}

func newCerts(w world) *certs {
	return &certs{world: w, rate: rate.NewLimiter(rate.Every(time.Second), 10), kept: make(map[string]cert), fetching: newGate()}
}

// certURL checks where a certificate is said to be.
func certURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || !snsHost.MatchString(u.Host) || !snsPath.MatchString(u.EscapedPath()) ||
		u.User != nil || raw != "https://"+u.Host+u.Path {
		return refuse(unproven, "a signing certificate that is not at SNS: "+printable(raw, 200))
	}
	return nil
}

// verify checks e's signature of text.
func (c *certs) verify(ctx context.Context, e envelope, text string) error {
	if err := certURL(e.SigningCertURL); err != nil {
		return err
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(e.Signature)
	if err != nil || len(signature) < 256 {
		return refuse(unproven, "a signature that is none")
	}
	var hash crypto.Hash
	var digest []byte
	switch e.SignatureVersion {
	case "1":
		sum := sha1.Sum([]byte(text))
		hash, digest = crypto.SHA1, sum[:]
	case "2":
		sum := sha256.Sum256([]byte(text))
		hash, digest = crypto.SHA256, sum[:]
	default:
		return refuse(unproven, "signature version "+printable(e.SignatureVersion, 20))
	}
	key, err := c.key(ctx, e.SigningCertURL)
	if err != nil {
		return err
	}
	if err := rsa.VerifyPKCS1v15(key, hash, digest, signature); err != nil {
		return refuse(unproven, "the signature is not of this message")
	}
	return nil
}

// key returns the key of the certificate at url.
func (c *certs) key(ctx context.Context, url string) (*rsa.PublicKey, error) {
	if k := c.have(url); k != nil {
		return k, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	if err := c.fetching.enter(ctx); err != nil { // one at a time: those who wait find it kept
		return nil, err
	}
	defer c.fetching.leave()
	if k := c.have(url); k != nil {
		return k, nil
	}
	if !c.rate.AllowN(c.now(), 1) {
		return nil, refuse(ours, "too many unknown signing certificates for now")
	}
	data, err := c.fetch(ctx, url)
	if err != nil {
		return nil, missing(err, "no such signing certificate: "+url)
	}
	one, err := readCert(data, c.now())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= certsMax {
		clear(c.kept)
	}
	c.kept[url] = one
	return one.key, nil
}

func (c *certs) have(url string) *rsa.PublicKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.kept[url]; ok && c.now().Before(k.until) {
		return k.key
	}
	return nil
}

// readCert reads a certificate in PEM, which must be valid now. What is no
// certificate at all was put in its place on the way to us: ours to repair.
func readCert(data []byte, now time.Time) (cert, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return cert{}, refuse(ours, "the signing certificate is not in PEM")
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return cert{}, refuse(ours, "the signing certificate makes no sense")
	}
	if now.Before(x.NotBefore) || now.After(x.NotAfter) {
		return cert{}, refuse(unproven, "the signing certificate is not valid now")
	}
	key, ok := x.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < 2048 {
		return cert{}, refuse(unproven, "the signing certificate's key is not RSA of 2048 bits or more")
	}
	until := now.Add(certFor)
	if x.NotAfter.Before(until) {
		until = x.NotAfter
	}
	return cert{key: key, until: until}, nil
}
