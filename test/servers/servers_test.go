package servers

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestS3ServersKeepWhatIsPut(t *testing.T) {
	for name, open := range map[string]func(testing.TB) S3{"versitygw": Versitygw, "minio": MinIO} {
		t.Run(name, func(t *testing.T) {
			srv := open(t)
			srv.MakeBucket(t, "plain", false)
			srv.MakeBucket(t, "versioned", true)
			for _, bucket := range []string{"plain", "versioned"} {
				put, err := srv.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("k"), Body: strings.NewReader("content")})
				if err != nil {
					t.Fatal(err)
				}
				if got, want := aws.ToString(put.VersionId) != "", bucket == "versioned"; got != want {
					t.Errorf("bucket %s: has version ids: %v, want %v", bucket, got, want)
				}
				get, err := srv.Client().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("k")})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(get.Body)
				if err != nil || string(got) != "content" {
					t.Errorf("got %q, %v", got, err)
				}
				_ = get.Body.Close()
			}
		})
	}
}

func TestClamdFindsEICARAlone(t *testing.T) {
	socket, addr := Clamd(t, ClamdOptions{Config: []string{"MaxThreads 2"}})
	eicar := `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`
	for _, tc := range []struct{ network, addr, content, want string }{
		{"unix", socket, eicar, "stream: Eicar-Body.UNOFFICIAL FOUND\x00"},
		{"tcp", addr, "mail: " + eicar, "stream: Eicar-Body.UNOFFICIAL FOUND\x00"},
		{"tcp", addr, "harmless", "stream: OK\x00"},
	} {
		conn, err := net.Dial(tc.network, tc.addr)
		if err != nil {
			t.Fatal(err)
		}
		var msg bytes.Buffer
		msg.WriteString("zINSTREAM\x00")
		msg.Write([]byte{0, 0, 0, byte(len(tc.content))})
		msg.WriteString(tc.content + "\x00\x00\x00\x00")
		if _, err := conn.Write(msg.Bytes()); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if err != nil || string(got) != tc.want {
			t.Errorf("got %q, %v; want %q", got, err, tc.want)
		}
		_ = conn.Close()
	}
}
