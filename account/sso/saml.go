package sso

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"
)

// SAMLOptions say which provider it is and who we are to it.
type SAMLOptions struct {
	Provider    Provider
	Issuer      string // the provider's entity ID
	LoginURL    string // where the browser goes
	Certificate string // PEM, or the base64 of one certificate
	BaseURL     string // ours
	Tenant      string // which of ours; "" = the one that there is from the start
}

// A SAML is a provider of SAML 2.0.
type SAML struct {
	o     SAMLOptions
	sp    saml.ServiceProvider
	roots []*x509.Certificate
}

// Certificates reads what a provider's administrator copies: PEM, or base64 alone.
func Certificates(text string) (list []*x509.Certificate, err error) {
	rest := []byte(strings.TrimSpace(text))
	if !bytes.HasPrefix(rest, []byte("-----")) {
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(rest)), ""))
		if err != nil {
			return nil, errors.New("neither PEM nor base64")
		}
		rest = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	for block, more := pem.Decode(rest); block != nil; block, more = pem.Decode(more) {
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, errors.New("not a certificate")
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("no certificate")
	}
	return list, nil
}

// NewSAML returns the provider that o describes.
func NewSAML(o SAMLOptions) (*SAML, error) {
	const op = "sso.NewSAML"
	base, err := url.Parse(strings.TrimSuffix(o.BaseURL, "/"))
	if err != nil {
		return nil, refused(op, errors.New("the base URL cannot be read"))
	}
	p := &SAML{o: o}
	if p.roots, err = Certificates(o.Certificate); err != nil {
		return nil, refused(op, err)
	}
	about := *base.JoinPath(MetadataPath)
	if o.Tenant != "" { // what is said to one tenant is not said to another
		about.RawQuery = url.Values{"tenantId": {o.Tenant}}.Encode()
	}
	p.sp = saml.ServiceProvider{EntityID: about.String(), MetadataURL: about, AcsURL: *base.JoinPath(ACSPath), IDPMetadata: p.idp(),
		AuthnNameIDFormat: saml.UnspecifiedNameIDFormat, ValidateAudienceRestriction: p.audience}
	return p, nil
}

// idp describes the provider in its own words.
func (p *SAML) idp() *saml.EntityDescriptor {
	var keys []saml.KeyDescriptor
	for _, c := range p.roots {
		keys = append(keys, saml.KeyDescriptor{Use: "signing", KeyInfo: saml.KeyInfo{X509Data: saml.X509Data{
			X509Certificates: []saml.X509Certificate{{Data: base64.StdEncoding.EncodeToString(c.Raw)}}}}})
	}
	return &saml.EntityDescriptor{EntityID: p.o.Issuer, IDPSSODescriptors: []saml.IDPSSODescriptor{{
		SSODescriptor:        saml.SSODescriptor{RoleDescriptor: saml.RoleDescriptor{KeyDescriptors: keys}},
		SingleSignOnServices: []saml.Endpoint{{Binding: saml.HTTPRedirectBinding, Location: p.o.LoginURL}}}}}
}

// Metadata describes us to the provider.
func (p *SAML) Metadata() ([]byte, error) {
	m := p.sp.Metadata()
	m.ValidUntil = time.Time{}
	return xml.MarshalIndent(m, "", "  ")
}

// Begin is where the browser goes, and the request's ID, which the answer names.
func (p *SAML) Begin(state string) (to, request string, err error) {
	r, err := p.sp.MakeAuthenticationRequest(p.o.LoginURL, saml.HTTPRedirectBinding, saml.HTTPPostBinding)
	if err != nil {
		return "", "", refused("sso.Begin", err)
	}
	u, err := r.Redirect(state, &p.sp)
	if err != nil {
		return "", "", refused("sso.Begin", err)
	}
	return u.String(), r.ID, nil
}

// Finish reads the provider's answer to a request: base64, as a form holds it.
func (p *SAML) Finish(answer, request string) (Person, error) {
	const op = "sso.Finish"
	text, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(answer), ""))
	if err != nil {
		return Person{}, refused(op, errors.New("not base64"))
	}
	if request == "" || len(text) > maxAnswer {
		return Person{}, refused(op, errors.New("no request, or too long an answer"))
	}
	if err := plain(text); err != nil {
		return Person{}, refused(op, err)
	}
	seen := &signed{}
	sp := p.sp
	sp.SignatureVerifier = seen
	a, err := sp.ParseXMLResponse(text, []string{request}, sp.AcsURL)
	if err != nil {
		var why *saml.InvalidResponseError
		if errors.As(err, &why) {
			err = why.PrivateErr
		}
		return Person{}, refused(op, err)
	}
	// Whatever the parser has read, only what was signed counts.
	sure, err := seen.assertion()
	if err != nil {
		return Person{}, refused(op, err)
	}
	if sure.ID != a.ID {
		return Person{}, refused(op, errors.New("another assertion was signed"))
	}
	if err := p.bearer(sure, request); err != nil {
		return Person{}, refused(op, err)
	}
	return p.person(sure), nil
}

// A signed verifies signatures and keeps what they cover.
type signed struct{ els []*etree.Element }

// VerifySignature is saml.SignatureVerifier's.
func (s *signed) VerifySignature(ctx *dsig.ValidationContext, el *etree.Element) error {
	covered, err := ctx.Validate(el)
	if err == nil {
		s.els = append(s.els, covered)
	}
	return err
}

// assertion is the one that is signed, itself or with the answer that it is in.
func (s *signed) assertion() (*saml.Assertion, error) {
	if len(s.els) != 1 {
		return nil, fmt.Errorf("%d signed elements", len(s.els))
	}
	el := s.els[0]
	if el.Tag == "Response" {
		if el = el.SelectElement("Assertion"); el == nil {
			return nil, errors.New("nothing is asserted")
		}
	}
	if el.Tag != "Assertion" || el.NamespaceURI() != assertionNS {
		return nil, errors.New("what is signed is no assertion")
	}
	doc := etree.NewDocumentWithRoot(el.Copy())
	for at := el.Parent(); at != nil; at = at.Parent() { // namespaces that it takes from around it
		for _, attr := range at.Attr {
			if attr.Space == "xmlns" || attr.Space == "" && attr.Key == "xmlns" {
				if doc.Root().SelectAttr(attr.FullKey()) == nil {
					doc.Root().CreateAttr(attr.FullKey(), attr.Value)
				}
			}
		}
	}
	text, err := doc.WriteToBytes()
	if err != nil {
		return nil, err
	}
	a := &saml.Assertion{}
	return a, xml.Unmarshal(text, a)
}

const (
	assertionNS = "urn:oasis:names:tc:SAML:2.0:assertion"
	bearerWay   = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
)

// audience wants us to be named: an assertion for nobody in particular is not for us.
func (p *SAML) audience(a *saml.Assertion) error {
	if a.Conditions == nil || len(a.Conditions.AudienceRestrictions) == 0 {
		return errors.New("no audience is named")
	}
	for _, r := range a.Conditions.AudienceRestrictions {
		if r.Audience.Value != p.sp.EntityID {
			return errors.New("it is for another audience")
		}
	}
	return nil
}

// bearer wants what the parser lets be absent.
func (p *SAML) bearer(a *saml.Assertion, request string) error {
	switch {
	case a.ID == "" || a.Subject == nil || a.Subject.NameID == nil || a.Subject.NameID.Value == "":
		return errors.New("nobody is named")
	case a.Conditions == nil || a.Conditions.NotOnOrAfter.IsZero():
		return errors.New("it is without end")
	case len(a.Subject.SubjectConfirmations) == 0:
		return errors.New("the subject is not confirmed")
	}
	for _, c := range a.Subject.SubjectConfirmations {
		d := c.SubjectConfirmationData
		if c.Method != bearerWay || d == nil || d.InResponseTo != request || d.Recipient != p.sp.AcsURL.String() || d.NotOnOrAfter.IsZero() {
			return errors.New("the subject's confirmation is not for this login")
		}
	}
	return p.audience(a)
}

// person reads an assertion.
func (p *SAML) person(a *saml.Assertion) Person {
	said := claims{"sub": a.Subject.NameID.Value}
	var given []string
	for _, st := range a.AttributeStatements {
		for _, attr := range st.Attributes {
			for _, v := range attr.Values {
				if p.o.Provider.speaksOfRoles(attr.Name) || p.o.Provider.speaksOfRoles(attr.FriendlyName) {
					given = append(given, roles(v.Value)...)
				}
				if name := attributes[strings.ToLower(lastOf(attr.Name, attr.FriendlyName))]; name != "" && said[name] == nil {
					said[name] = v.Value
				}
			}
		}
	}
	who := said.person(p.o.Provider)
	who.Roles = given[:min(len(given), maxRoles)]
	if strings.Contains(who.Subject, "@") && who.Login == "" {
		who.Login = who.Subject
	}
	who.Assertion, who.Until = a.ID, a.Conditions.NotOnOrAfter.Add(saml.MaxClockSkew)
	return who
}

// attributes are the names that providers give what we want to know.
var attributes = map[string]string{
	"emailaddress": "email", "email": "email", "mail": "email", "user.email": "email", "urn:oid:0.9.2342.19200300.100.1.3": "email",
	"name": "name", "displayname": "name", "cn": "name", "urn:oid:2.16.840.1.113730.3.1.241": "name",
	"upn": "upn", "uid": "upn", "username": "upn", "urn:oid:0.9.2342.19200300.100.1.1": "upn",
}

// lastOf is an attribute's name without a namespace that is a URL.
func lastOf(name, friendly string) string {
	if friendly != "" {
		return friendly
	}
	if strings.Contains(name, "://") {
		return name[strings.LastIndex(name, "/")+1:]
	}
	return name
}

// plain refuses what honest answers never hold and forged ones play with: more
// than one assertion wherever it may stand, two elements of one ID, encrypted
// parts (we have no key), directives, and comments, which split a name.
func plain(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	ids, assertions, signatures, depth := map[string]bool{}, 0, 0, 0
	for {
		t, err := d.RawToken()
		if err != nil {
			if depth == 0 && assertions == 1 && err.Error() == "EOF" {
				return nil
			}
			return errors.New("not one assertion in an answer that can be read")
		}
		switch t := t.(type) {
		case xml.Directive, xml.Comment:
			return errors.New("a directive or a comment")
		case xml.EndElement:
			depth--
		case xml.StartElement:
			if depth++; depth > 64 {
				return errors.New("too deep")
			}
			switch t.Name.Local {
			case "Assertion":
				assertions++
			case "Signature":
				signatures++
			case "EncryptedAssertion", "EncryptedID", "EncryptedAttribute":
				return errors.New("it is encrypted, and we have given no key")
			}
			for _, a := range t.Attr {
				if name := strings.ToLower(a.Name.Local); a.Name.Space == "" && name == "id" || a.Name.Space == "xml" && name == "id" {
					if ids[a.Value] {
						return errors.New("two elements of one ID")
					}
					ids[a.Value] = true
				}
			}
		}
		if assertions > 1 || signatures > 2 {
			return errors.New("more assertions or signatures than one")
		}
	}
}
