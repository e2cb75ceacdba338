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

// MinIOHook starts MinIO with a webhook as a target that NotifyHook sends the
// events of a bucket to. It keeps what it cannot deliver, and tries again.
func MinIOHook(t testing.TB, url, token string) S3 {
	t.Helper()
	port := FreePort(t)
	srv := newS3(port)
	home := t.TempDir()
	cmd := exec.Command(Binary(t, "minio"), "server", "--quiet", "--anonymous", "--config-dir", filepath.Join(home, "config"),
		"--address", loopback(port), "--console-address", loopback(FreePort(t)), filepath.Join(home, "data"))
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+srv.AccessKey, "MINIO_ROOT_PASSWORD="+srv.SecretKey,
		"MINIO_REGION="+srv.Region, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME="+home,
		"MINIO_NOTIFY_WEBHOOK_ENABLE_h=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_h="+url, "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_h="+token,
		"MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_h="+filepath.Join(home, "queue"))
	ready := answersHTTP(srv.Endpoint + "/minio/health/ready")
	start(t, cmd, func(ctx context.Context) error {
		if err := ready(ctx); err != nil {
			return err
		}
		return knowsUsers(ctx, srv)
	})
	return srv
}

// NotifyHook has the events of a bucket of MinIOHook sent.
func (s S3) NotifyHook(t testing.TB, bucket string) {
	t.Helper()
	_, err := s.client.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: &bucket,
		NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String("arn:minio:sqs::h:webhook"),
			Events:   []types.Event{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}
