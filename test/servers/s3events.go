package servers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// VersitygwEvents starts a Versity gateway that publishes the events of all its
// buckets to a subject of a NATS server.
func VersitygwEvents(t testing.TB, nats *NATS, subject string) S3 {
	t.Helper()
	root, versions := t.TempDir(), t.TempDir()
	port := FreePort(t)
	srv := newS3(port)
	cmd := exec.Command(Binary(t, "versitygw"), "--port", loopback(port), "--health", "/health", "--quiet", "--region", srv.Region,
		"--event-nats-url", nats.URL, "--event-nats-topic", subject, "posix", "--versioning-dir", versions, root)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+srv.AccessKey, "ROOT_SECRET_KEY="+srv.SecretKey)
	start(t, cmd, answersHTTP(srv.Endpoint+"/health"))
	return srv
}

// MinIOEvents starts MinIO with a subject of a NATS server as a target that
// NotifyNATS sends the events of a bucket to.
func MinIOEvents(t testing.TB, nats *NATS, subject string) S3 {
	t.Helper()
	port := FreePort(t)
	srv := newS3(port)
	home := t.TempDir()
	cmd := exec.Command(Binary(t, "minio"), "server", "--quiet", "--anonymous", "--config-dir", filepath.Join(home, "config"),
		"--address", loopback(port), "--console-address", loopback(FreePort(t)), filepath.Join(home, "data"))
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+srv.AccessKey, "MINIO_ROOT_PASSWORD="+srv.SecretKey,
		"MINIO_REGION="+srv.Region, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME="+home,
		"MINIO_NOTIFY_NATS_ENABLE_n=on", "MINIO_NOTIFY_NATS_ADDRESS_n="+nats.Address, "MINIO_NOTIFY_NATS_SUBJECT_n="+subject)
	ready := answersHTTP(srv.Endpoint + "/minio/health/ready")
	start(t, cmd, func(ctx context.Context) error {
		if err := ready(ctx); err != nil {
			return err
		}
		return knowsUsers(ctx, srv)
	})
	return srv
}

// NotifyNATS has the events of a bucket of MinIOEvents sent.
func (s S3) NotifyNATS(t testing.TB, bucket string) {
	t.Helper()
	_, err := s.client.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: &bucket,
		NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String("arn:minio:sqs::n:nats"),
			Events:   []types.Event{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}
