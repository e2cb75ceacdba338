package servers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// An OIDC is a running OpenID Connect provider, which is certified as one. Its
// login form takes any name and password; the name is the subject.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret string
}

// provider is what node runs. admins and readers, by the end of their name, have
// groups; whether these stand in ID tokens or in the user info alone is the last
// argument.
const provider = `
import Provider from 'oidc-provider';
const [port, redirect, secret, inToken] = process.argv.slice(1);
const p = new Provider('http://127.0.0.1:' + port, {
	clients: [{client_id: 'landwaiter', client_secret: secret, redirect_uris: [redirect]}],
	pkce: {required: () => true},
	conformIdTokenClaims: inToken !== 'true',
	claims: {openid: ['sub'], profile: ['name', 'preferred_username', 'groups'], email: ['email', 'email_verified']},
	cookies: {keys: ['a key for tests']},
	findAccount: (ctx, id) => ({accountId: id, claims: async () => ({sub: id, name: 'The ' + id, preferred_username: id + '@example.org', email: id + '@example.org',
		groups: id.endsWith('admin') ? ['staff', 'lw-admins'] : id.endsWith('reader') ? ['lw-readers'] : ['staff']})}),
});
const s = p.listen(Number(port), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
`

// StartOIDC starts a provider that sends browsers back to redirect.
func StartOIDC(t testing.TB, redirect string, inToken bool) OIDC {
	t.Helper()
	node := Binary(t, "node")
	if _, err := os.Stat(filepath.Join(npmDir(), "oidc-provider")); err != nil {
		Missing(t, "oidc-provider")
	}
	port := FreePort(t)
	o := OIDC{Issuer: "http://" + loopback(port), ClientID: "landwaiter", ClientSecret: "a secret of tests, 32 bytes long"}
	cmd := exec.Command(node, "--input-type=module", "-e", provider, strconv.Itoa(port), redirect, o.ClientSecret, strconv.FormatBool(inToken))
	cmd.Dir = npmDir() // node looks for modules from there
	start(t, cmd, answersHTTP(o.Issuer+"/.well-known/openid-configuration"))
	return o
}
