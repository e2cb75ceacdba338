package api_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"html"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	"github.com/crewjam/saml/samlidp"
)

// An idp is a real SAML identity provider, served over HTTP on loopback. It puts
// groups where ADFS does, and twist changes what it is about to sign.
type idp struct {
	t     *testing.T
	url   string
	s     *samlidp.Server
	twist func(a *saml.Assertion)
}

func selfSigned(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// MakeAssertion is saml.AssertionMaker's.
func (p *idp) MakeAssertion(req *saml.IdpAuthnRequest, session *saml.Session) error {
	if err := (saml.DefaultAssertionMaker{}).MakeAssertion(req, session); err != nil {
		return err
	}
	groups := saml.Attribute{Name: "http://schemas.xmlsoap.org/claims/Group"}
	for _, g := range session.Groups {
		groups.Values = append(groups.Values, saml.AttributeValue{Type: "xs:string", Value: g})
	}
	st := &req.Assertion.AttributeStatements[0]
	st.Attributes = append(st.Attributes, groups)
	if p.twist != nil {
		p.twist(req.Assertion)
	}
	return nil
}

func startIDP(t *testing.T) *idp {
	t.Helper()
	key := rsaKey(t)
	p := &idp{t: t}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.s.ServeHTTP(w, r) }))
	p.url = "http://" + srv.Listener.Addr().String()
	at, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	if p.s, err = samlidp.New(samlidp.Options{URL: *at, Key: key, Certificate: selfSigned(t, key), Store: &samlidp.MemoryStore{}, Logger: log.New(io.Discard, "", 0)}); err != nil {
		t.Fatal(err)
	}
	p.s.IDP.AssertionMaker = p
	srv.Start()
	t.Cleanup(srv.Close)
	return p
}

func (p *idp) put(path, body string) {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPut, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		p.t.Fatalf("PUT %s: %s", path, resp.Status)
	}
}

func (p *idp) certificate() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.s.IDP.Certificate.Raw}))
}

var hidden = regexp.MustCompile(`name="(SAMLRequest|SAMLResponse|RelayState)" value="([^"]*)"`)

func fields(text string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(text, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	return v
}

// answer goes to our login and through the provider's form, as user if the
// provider does not know the browser; it returns the form that the provider has
// the browser send to us.
func (b *browser) answer(login, user string) url.Values {
	b.t.Helper()
	resp, text := b.get(login)
	form := fields(text)
	if form.Get("SAMLResponse") == "" {
		form.Set("user", user)
		form.Set("password", "any")
		_, text = b.post(resp.Request.URL.Scheme+"://"+resp.Request.URL.Host+"/sso", form)
		form = fields(text)
	}
	if form.Get("SAMLResponse") == "" {
		b.t.Fatalf("no answer of the provider: %s %.300s", resp.Status, text)
	}
	return form
}

// rewrite changes the XML of an answer.
func rewrite(t *testing.T, form url.Values, change func(root *etree.Element)) url.Values {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(form.Get("SAMLResponse"))
	if err != nil {
		t.Fatal(err)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(text); err != nil {
		t.Fatal(err)
	}
	change(doc.Root())
	if text, err = doc.WriteToBytes(); err != nil {
		t.Fatal(err)
	}
	return url.Values{"RelayState": form["RelayState"], "SAMLResponse": {base64.StdEncoding.EncodeToString(text)}}
}

func sub(el *etree.Element, path string) *etree.Element { return el.FindElement(path) }

// drop takes an element out of where it is.
func drop(el *etree.Element) *etree.Element {
	el.Parent().RemoveChild(el)
	return el
}

// forge is an assertion like the honest one, unsigned, of the administrator.
func forge(honest *etree.Element) *etree.Element {
	evil := honest.Copy()
	if s := evil.SelectElement("Signature"); s != nil {
		drop(s)
	}
	evil.CreateAttr("ID", "id-forged")
	sub(evil, "./Subject/NameID").SetText("root@example.org")
	for _, v := range evil.FindElements("./AttributeStatement/Attribute/AttributeValue") {
		if v.Text() == "lw-readers" {
			v.SetText("lw-admins")
		}
	}
	return evil
}

func TestSAML(t *testing.T) {
	w := start(t, setup{})
	p := startIDP(t)
	a := w.admin()
	login, acs := w.url+"/api/landwaiter/sso/login", w.url+"/api/landwaiter/sso/acs"
	a.call("PATCH", "/api/sso", map[string]any{"isEnabled": true, "ssoType": 1, "ssoProvider": 3, "baseUrl": w.url, "administratorRoleName": "lw-admins", "readonlyRoleName": "lw-readers"}, http.StatusBadRequest)
	a.call("PATCH", "/api/sso", map[string]any{"isEnabled": true, "ssoType": 1, "ssoProvider": 3, "baseUrl": w.url, "administratorRoleName": "lw-admins", "readonlyRoleName": "lw-readers",
		"identityProviderIssuer": p.s.IDP.MetadataURL.String(), "identityProviderLoginUrl": p.s.IDP.SSOURL.String(), "identityProviderCertificate": map[string]any{"content": p.certificate()}}, http.StatusOK)
	resp, about := newBrowser(t).get(w.url + "/api/landwaiter/sso/metadata")
	if resp.StatusCode != http.StatusOK || !strings.Contains(about, `entityID="`+w.url) {
		t.Fatalf("metadata: %s %s", resp.Status, about)
	}
	p.put("/services/landwaiter", about)
	p.put("/users/ann", `{"name":"ann","password":"any","email":"ann@example.org","common_name":"Ann Smith","groups":["staff","lw-admins"]}`)
	p.put("/users/bob", `{"name":"bob","password":"any","email":"bob@example.org","groups":["lw-readers"]}`)
	p.put("/users/eve", `{"name":"eve","password":"any","email":"eve@example.org","groups":["staff"]}`)

	ann := newBrowser(t)
	got := w.granted(ann.post(acs, ann.answer(login, "ann")))
	if at(got, "user.role") != 4.0 || word(got, "user.userName") != "ann" || word(got, "user.email") != "ann@example.org" || word(got, "user.fullName") != "Ann Smith" {
		t.Errorf("grant: %v", got)
	}
	(&client{w: w, token: word(got, "accessToken")}).call("POST", "/api/group", map[string]any{"name": "by saml"}, http.StatusOK)
	if again := w.granted(ann.post(acs, ann.answer(login, ""))); word(again, "user.id") != word(got, "user.id") {
		t.Errorf("another user: %v", again)
	}
	eve := newBrowser(t)
	if resp, text := eve.post(acs, eve.answer(login, "eve")); resp.StatusCode != http.StatusForbidden {
		t.Errorf("without a group: %s %s", resp.Status, text)
	}

	bob := newBrowser(t)
	if got := w.granted(bob.post(acs, bob.answer(login, "bob"))); at(got, "user.role") != 5.0 {
		t.Errorf("reader: %v", got)
	}
	// The assertion's own signature suffices.
	w.granted(bob.post(acs, rewrite(t, bob.answer(login, ""), func(r *etree.Element) {
		if s := r.SelectElement("Signature"); s != nil {
			drop(s)
		}
	})))
	cases, accepted := 0, 0
	refuse := func(what string, b *browser, form url.Values) {
		t.Helper()
		cases++
		if resp, text := b.post(acs, form); resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
			accepted++
			t.Errorf("%s: %s %.300s", what, resp.Status, text)
		}
	}

	// What the provider signs and should not have, or not for us.
	later := time.Now().Add(time.Hour)
	past := time.Now().Add(-time.Hour)
	for what, twist := range map[string]func(a *saml.Assertion){
		"another audience": func(a *saml.Assertion) {
			a.Conditions.AudienceRestrictions[0].Audience.Value = "https://other.example.org"
		},
		"no audience": func(a *saml.Assertion) { a.Conditions.AudienceRestrictions = nil },
		"a second audience": func(a *saml.Assertion) {
			a.Conditions.AudienceRestrictions = append(a.Conditions.AudienceRestrictions, saml.AudienceRestriction{Audience: saml.Audience{Value: "https://other.example.org"}})
		},
		"another recipient": func(a *saml.Assertion) {
			a.Subject.SubjectConfirmations[0].SubjectConfirmationData.Recipient = "https://other.example.org/acs"
		},
		"no recipient": func(a *saml.Assertion) { a.Subject.SubjectConfirmations[0].SubjectConfirmationData.Recipient = "" },
		"another request": func(a *saml.Assertion) {
			a.Subject.SubjectConfirmations[0].SubjectConfirmationData.InResponseTo = "id-other"
		},
		"no request": func(a *saml.Assertion) { a.Subject.SubjectConfirmations[0].SubjectConfirmationData.InResponseTo = "" },
		"confirmation over": func(a *saml.Assertion) {
			a.Subject.SubjectConfirmations[0].SubjectConfirmationData.NotOnOrAfter = past
		},
		"no confirmation": func(a *saml.Assertion) { a.Subject.SubjectConfirmations = nil },
		"holder of key": func(a *saml.Assertion) {
			a.Subject.SubjectConfirmations[0].Method = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"
		},
		"over":            func(a *saml.Assertion) { a.Conditions.NotOnOrAfter = past },
		"not yet":         func(a *saml.Assertion) { a.Conditions.NotBefore = later },
		"issued long ago": func(a *saml.Assertion) { a.IssueInstant = past },
		"another issuer":  func(a *saml.Assertion) { a.Issuer.Value = "https://other.example.org" },
		"nobody":          func(a *saml.Assertion) { a.Subject.NameID.Value = "" },
	} {
		p.twist = twist
		form := bob.answer(login, "")
		p.twist = nil
		refuse(what, bob, form)
	}

	// Signed by somebody else.
	key, cert := p.s.IDP.Key, p.s.IDP.Certificate
	own := rsaKey(t)
	p.s.IDP.Key, p.s.IDP.Certificate = own, selfSigned(t, own)
	refuse("another key", bob, bob.answer(login, ""))
	p.s.IDP.Certificate = cert
	refuse("another key under the provider's certificate", bob, bob.answer(login, ""))
	p.s.IDP.Key = key

	// What is changed, or wrapped around what was signed.
	for what, change := range map[string]func(r *etree.Element){
		"unsigned": func(r *etree.Element) {
			for _, s := range r.FindElements("//Signature") {
				drop(s)
			}
		},
		"another role": func(r *etree.Element) {
			for _, v := range r.FindElements("//AttributeValue") {
				if v.Text() == "lw-readers" {
					v.SetText("lw-admins")
				}
			}
		},
		"another subject": func(r *etree.Element) { sub(r, "//NameID").SetText("ann@example.org") },
		"another subject, no signature of the response": func(r *etree.Element) {
			drop(r.SelectElement("Signature"))
			sub(r, "//NameID").SetText("ann@example.org")
		},
		"a comment in the subject": func(r *etree.Element) {
			id := sub(r, "//NameID")
			id.SetText("ann@example.org")
			id.AddChild(etree.NewComment("x"))
			id.AddChild(etree.NewText(".evil.example"))
		},
		"a broken signature":  func(r *etree.Element) { sub(r, "//SignatureValue").SetText("AAAA") },
		"a broken digest":     func(r *etree.Element) { sub(r, "//DigestValue").SetText("AAAA") },
		"an empty reference":  func(r *etree.Element) { sub(r, "//Reference").CreateAttr("URI", "") },
		"reference elsewhere": func(r *etree.Element) { sub(r, "//Reference").CreateAttr("URI", "#id-none") },
		"HMAC": func(r *etree.Element) {
			sub(r, "//SignatureMethod").CreateAttr("Algorithm", "http://www.w3.org/2000/09/xmldsig#hmac-sha1")
		},
		"no assertion": func(r *etree.Element) { drop(r.SelectElement("Assertion")) },
		"failed status": func(r *etree.Element) {
			sub(r, "//StatusCode").CreateAttr("Value", "urn:oasis:names:tc:SAML:2.0:status:Requester")
		},
		"XSW1: a forged response holds the honest one": func(r *etree.Element) {
			honest := r.Copy()
			sig := drop(r.SelectElement("Signature"))
			for _, c := range sig.SelectElements("Object") {
				drop(c)
			}
			if s := honest.SelectElement("Signature"); s != nil {
				drop(s)
			}
			sig.CreateElement("ds:Object").AddChild(honest)
			r.InsertChildAt(1, sig)
			r.CreateAttr("ID", "id-forged-response")
			as := r.SelectElement("Assertion")
			r.AddChild(forge(as))
			drop(as)
		},
		"XSW3: forged beside, before": func(r *etree.Element) {
			dropIf(r.SelectElement("Signature"))
			as := r.SelectElement("Assertion")
			r.InsertChildAt(as.Index(), forge(as))
		},
		"XSW3: forged beside, after": func(r *etree.Element) {
			dropIf(r.SelectElement("Signature"))
			r.AddChild(forge(r.SelectElement("Assertion")))
		},
		"XSW4: forged around": func(r *etree.Element) {
			dropIf(r.SelectElement("Signature"))
			as := r.SelectElement("Assertion")
			evil := forge(as)
			r.AddChild(evil)
			evil.AddChild(drop(as))
		},
		"XSW5: the signature in the forged one": func(r *etree.Element) {
			dropIf(r.SelectElement("Signature"))
			as := r.SelectElement("Assertion")
			evil := forge(as)
			evil.InsertChildAt(1, drop(as.SelectElement("Signature")))
			r.InsertChildAt(as.Index(), evil)
		},
		"XSW6: the honest one in the signature in the forged one": func(r *etree.Element) {
			dropIf(r.SelectElement("Signature"))
			as := r.SelectElement("Assertion")
			evil := forge(as)
			sig := drop(as.SelectElement("Signature"))
			r.AddChild(evil)
			evil.InsertChildAt(1, sig)
			sig.CreateElement("ds:Object").AddChild(drop(as))
		},
		"XSW7: the forged one in extensions": func(r *etree.Element) {
			dropIf(r.SelectElement("Signature"))
			as := r.SelectElement("Assertion")
			ext := etree.NewElement("samlp:Extensions")
			ext.AddChild(forge(as))
			r.InsertChildAt(as.Index(), ext)
		},
		"XSW8: the same ID twice": func(r *etree.Element) {
			dropIf(r.SelectElement("Signature"))
			as := r.SelectElement("Assertion")
			evil := forge(as)
			evil.CreateAttr("ID", as.SelectAttrValue("ID", ""))
			sig := drop(as.SelectElement("Signature"))
			r.AddChild(evil)
			evil.InsertChildAt(1, sig)
			sig.CreateElement("ds:Object").AddChild(drop(as))
		},
		"the forged one alone": func(r *etree.Element) {
			dropIf(r.SelectElement("Signature"))
			as := r.SelectElement("Assertion")
			r.AddChild(forge(as))
			drop(as)
		},
	} {
		refuse(what, bob, rewrite(t, bob.answer(login, ""), change))
	}

	// What was good, again, or for another login or browser.
	form := bob.answer(login, "")
	w.granted(bob.post(acs, form))
	refuse("a second time", bob, form)
	next := bob.answer(login, "")
	refuse("a second time, for a new login", bob, url.Values{"RelayState": next["RelayState"], "SAMLResponse": form["SAMLResponse"]})
	one, two := bob.answer(login, ""), bob.answer(login, "")
	refuse("the answer of another login", bob, url.Values{"RelayState": one["RelayState"], "SAMLResponse": two["SAMLResponse"]})
	refuse("another browser", ann, bob.answer(login, ""))
	refuse("no login", bob, url.Values{"SAMLResponse": form["SAMLResponse"]})
	for what, text := range map[string]string{"nothing": "", "not base64": "%%%", "not XML": base64.StdEncoding.EncodeToString([]byte("hello")),
		"entities": base64.StdEncoding.EncodeToString([]byte(`<!DOCTYPE r [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><r>&c;</r>`)),
		"deep":     base64.StdEncoding.EncodeToString([]byte(strings.Repeat("<a>", 10_000)))} {
		refuse(what, bob, url.Values{"RelayState": bob.answer(login, "")["RelayState"], "SAMLResponse": {text}})
	}
	w.granted(bob.post(acs, bob.answer(login, "")))
	t.Logf("cases=%d accepted=%d", cases, accepted)

	// A certificate of another kind is one too; that of another provider is not.
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfSigned(t, ec).Raw})
	a.call("PATCH", "/api/sso", map[string]any{"identityProviderCertificate": string(other)}, http.StatusOK)
	refuse("after the certificate was changed", bob, bob.answer(login, ""))
}

func dropIf(el *etree.Element) {
	if el != nil {
		drop(el)
	}
}
