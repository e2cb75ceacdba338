package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// An S3 is a running server that speaks the S3 protocol.
type S3 struct {
	Endpoint  string // http://127.0.0.1:port
	AccessKey string
	SecretKey string
	Region    string
	client    *s3.Client
}

// Versitygw starts a Versity gateway over a private folder. It honours If-Match
// on DELETE; it ignores If-None-Match on the destination of a copy.
func Versitygw(t testing.TB) S3 {
	t.Helper()
	// Two folders: the gateway refuses one inside the other.
	root, versions := t.TempDir(), t.TempDir()
	port := FreePort(t)
	srv := newS3(port)
	cmd := exec.Command(Binary(t, "versitygw"), "--port", loopback(port), "--health", "/health", "--quiet", "--keep-alive", "--region", srv.Region,
		"posix", "--versioning-dir", versions, root)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+srv.AccessKey, "ROOT_SECRET_KEY="+srv.SecretKey)
	start(t, cmd, answersHTTP(srv.Endpoint+"/health"))
	return srv
}

// MinIO starts MinIO over a private folder. It ignores If-Match on DELETE and
// If-None-Match on the destination of a copy.
func MinIO(t testing.TB) S3 {
	t.Helper()
	port := FreePort(t)
	srv := newS3(port)
	home := t.TempDir()
	cmd := exec.Command(Binary(t, "minio"), "server", "--quiet", "--anonymous", "--config-dir", filepath.Join(home, "config"),
		"--address", loopback(port), "--console-address", loopback(FreePort(t)), filepath.Join(home, "data"))
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+srv.AccessKey, "MINIO_ROOT_PASSWORD="+srv.SecretKey,
		"MINIO_REGION="+srv.Region, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME="+home)
	ready := answersHTTP(srv.Endpoint + "/minio/health/ready")
	start(t, cmd, func(ctx context.Context) error {
		if err := ready(ctx); err != nil {
			return err
		}
		return knowsUsers(ctx, srv)
	})
	return srv
}

// knowsUsers asks with a key that nobody has: MinIO says that it is ready a
// moment before it can tell users apart, and answers 503 until then.
func knowsUsers(ctx context.Context, srv S3) error {
	stranger := s3.New(s3.Options{BaseEndpoint: &srv.Endpoint, Region: srv.Region, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("nobody", "nothing-at-all", "")})
	_, err := stranger.ListBuckets(ctx, &s3.ListBucketsInput{})
	answer := new(smithyhttp.ResponseError)
	if errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusForbidden {
		return nil
	}
	return fmt.Errorf("a stranger's key: %w", err)
}

func newS3(port int) S3 {
	srv := S3{Endpoint: "http://" + loopback(port), AccessKey: "landwaiter", SecretKey: "landwaiter-secret", Region: "us-east-1"}
	srv.client = s3.New(s3.Options{
		BaseEndpoint: &srv.Endpoint,
		Region:       srv.Region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(srv.AccessKey, srv.SecretKey, ""),
	})
	return srv
}

// Client returns a plain SDK client with the server's root credentials, for
// what a test does behind our back.
func (s S3) Client() *s3.Client { return s.client }

// MakeBucket makes an empty bucket, with versioning if versioned.
func (s S3) MakeBucket(t testing.TB, name string, versioned bool) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	if !versioned {
		return
	}
	_, err := s.client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket:                  aws.String(name),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
}
