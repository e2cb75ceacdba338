package nats

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/landwaiter/landwaiter/test/servers"
)

func put(t *testing.T, store servers.S3, key string) {
	t.Helper()
	if _, err := store.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("inbox"), Key: &key, Body: strings.NewReader("content")}); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, store servers.S3, key string) {
	t.Helper()
	if _, err := store.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("inbox"), Key: &key}); err != nil {
		t.Fatal(err)
	}
}

func tag(t *testing.T, store servers.S3, key string) {
	t.Helper()
	tags := &types.Tagging{TagSet: []types.Tag{{Key: aws.String("colour"), Value: aws.String("blue")}}}
	if _, err := store.Client().PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: aws.String("inbox"), Key: &key, Tagging: tags}); err != nil {
		t.Fatal(err)
	}
}
