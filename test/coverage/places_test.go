package coverage

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/landwaiter/landwaiter/test/servers"
)

// places are an empty place of each vendor, on real servers.
func places(t *testing.T) map[string]place {
	return map[string]place{"folder": folder{t.TempDir()}, "s3": newBucket(t), "azblob": newContainer(t), "gs": newGoogle(t), "smb": newShare(t)}
}

type folder struct{ dir string }

func (f folder) unit() (string, map[string]string) { return "file://" + f.dir, nil }

func (f folder) write(key string, content []byte) error {
	path := filepath.Join(f.dir, key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func (f folder) read(key string) ([]byte, error) { return os.ReadFile(filepath.Join(f.dir, key)) }

func (f folder) remove(key string) error { return os.Remove(filepath.Join(f.dir, key)) }

func (f folder) rename(from, to string) error {
	path := filepath.Join(f.dir, to)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(f.dir, from), path)
}

type bucket struct {
	t   *testing.T
	srv servers.S3
}

func newBucket(t *testing.T) bucket {
	srv := servers.Versitygw(t)
	srv.MakeBucket(t, "landing", false)
	return bucket{t, srv}
}

func (b bucket) unit() (string, map[string]string) {
	return "s3://landing?endpoint=" + url.QueryEscape(b.srv.Endpoint) + "&region=" + b.srv.Region,
		map[string]string{"access_key": b.srv.AccessKey, "secret_key": b.srv.SecretKey}
}

func (b bucket) write(key string, content []byte) error {
	_, err := b.srv.Client().PutObject(b.t.Context(), &awss3.PutObjectInput{Bucket: aws.String("landing"), Key: &key, Body: bytes.NewReader(content)})
	return err
}

func (b bucket) read(key string) ([]byte, error) {
	out, err := b.srv.Client().GetObject(b.t.Context(), &awss3.GetObjectInput{Bucket: aws.String("landing"), Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

func (b bucket) remove(key string) error {
	_, err := b.srv.Client().DeleteObject(b.t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String("landing"), Key: &key})
	return err
}

// rename is what S3 has for it: a copy, and the end of the original.
func (b bucket) rename(from, to string) error {
	_, err := b.srv.Client().CopyObject(b.t.Context(), &awss3.CopyObjectInput{Bucket: aws.String("landing"), Key: &to, CopySource: aws.String("landing/" + from)})
	if err != nil {
		return err
	}
	return b.remove(from)
}

type blobs struct {
	t      *testing.T
	srv    servers.Azure
	client *azblob.Client
}

func newContainer(t *testing.T) blobs {
	srv := servers.Azurite(t)
	client, err := azblob.NewClientFromConnectionString(srv.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateContainer(t.Context(), "landing", nil); err != nil {
		t.Fatal(err)
	}
	return blobs{t, srv, client}
}

func (b blobs) unit() (string, map[string]string) {
	return "azblob://" + b.srv.Account + "/landing?endpoint=" + url.QueryEscape(b.srv.Blob), map[string]string{"key": b.srv.Key}
}

func (b blobs) write(key string, content []byte) error {
	_, err := b.client.UploadBuffer(b.t.Context(), "landing", key, content, nil)
	return err
}

func (b blobs) read(key string) ([]byte, error) {
	buf := make([]byte, 4096)
	n, err := b.client.DownloadBuffer(b.t.Context(), "landing", key, buf, nil)
	return buf[:n], err
}

func (b blobs) remove(key string) error {
	_, err := b.client.DeleteBlob(b.t.Context(), "landing", key, nil)
	return err
}

// rename is what Azure Blob has for it: the bytes again, and the end of the original.
func (b blobs) rename(from, to string) error {
	content, err := b.read(from)
	if err != nil {
		return err
	}
	if err := b.write(to, content); err != nil {
		return err
	}
	return b.remove(from)
}

type google struct {
	t       *testing.T
	srv     servers.GCS
	content map[string][]byte
}

func newGoogle(t *testing.T) google {
	srv := servers.CheckedGCS(t)
	srv.MakeBucket(t, "landing", false)
	return google{t, srv, map[string][]byte{}}
}

func (g google) unit() (string, map[string]string) {
	return "gs://landing?endpoint=" + url.QueryEscape(g.srv.Endpoint), map[string]string{"anonymous": "true"}
}

func (g google) write(key string, content []byte) error {
	g.srv.Write(g.t, "landing", key, content)
	g.content[key] = content
	return nil
}

func (g google) read(key string) ([]byte, error) {
	resp, err := http.Get(g.srv.Endpoint + "/storage/v1/b/landing/o/" + url.PathEscape(key) + "?alt=media")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(resp.Body)
}

func (g google) remove(key string) error {
	g.srv.Remove(g.t, "landing", key)
	delete(g.content, key)
	return nil
}

func (g google) rename(from, to string) error {
	if err := g.write(to, g.content[from]); err != nil {
		return err
	}
	return g.remove(from)
}

// share is a folder that a server shares: its users write through it or beside it.
type share struct {
	folder
	srv *servers.Samba
}

func newShare(t *testing.T) share {
	srv := servers.StartSamba(t)
	return share{folder{srv.Plain}, srv}
}

func (s share) unit() (string, map[string]string) {
	return "smb://" + s.srv.Host + ":" + s.srv.Port + "/plain", map[string]string{"user": s.srv.User, "password": s.srv.Password}
}

// write lets the server's user do with the object what it likes.
func (s share) write(key string, content []byte) error {
	if err := s.folder.write(key, content); err != nil {
		return err
	}
	path := filepath.Join(s.dir, key)
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.Chmod(path, 0o666)
}
