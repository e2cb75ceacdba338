package events

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
)

// TLS takes the options tls, ca (a file of authorities to trust instead of the
// system's), cert and cert_key (files of a client's certificate). nil = no TLS.
func (p *Place) TLS() *tls.Config {
	on, ca, cert, key := p.Flag("tls"), p.Text("ca", ""), p.Text("cert", ""), p.Text("cert_key", "")
	if !on {
		if ca != "" || cert != "" || key != "" {
			p.Fault("tls", errors.New("ca, cert and cert_key need tls: true"))
		}
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			p.Fault("ca", err)
		}
		c.RootCAs = x509.NewCertPool()
		if err == nil && !c.RootCAs.AppendCertsFromPEM(pem) {
			p.Fault("ca", errors.New("no certificate in the file"))
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			p.Fault("cert", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// Format takes the option format, which says how a stream's messages are
// written: s3 (the default) or eventgrid.
func (p *Place) Format() func([]byte) ([]Notice, error) {
	switch p.Text("format", "s3") {
	case "s3":
		return ParseS3
	case "eventgrid":
		return ParseEventGrid
	}
	p.Fault("format", errors.New("want s3 or eventgrid"))
	return nil
}
