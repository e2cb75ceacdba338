package mdcore

import (
	"archive/zip"
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// kept is how much of a file is looked at for markers and as an archive; EICAR
// is found anywhere.
const kept = 16 << 20

// EICAR is the test file, put together here so that no file holds it whole.
var eicar = []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`)

// EICAR returns the content that every engine knows.
func EICAR() []byte { return bytes.Clone(eicar) }

// Markers that content may hold, each with a number or a word where shown:
//
//	LW-CODE:17        that scan_all_result_i
//	LW-BLOCK:Words    Blocked with that reason, whatever the code
//	LW-SANITIZE       a sanitised copy; LW-SANITIZE-PARTIAL says so
//	LW-DLP:3          so many hits of data loss prevention
//	LW-VULN:2         so many vulnerabilities
//	LW-FAIL:1         so many engines fail
//	LW-WAIT:250       milliseconds until the report, instead of the server's
var marker = regexp.MustCompile(`LW-([A-Z-]+)(?::([0-9A-Za-z_]+))?`)

// job is one submission, or a member of one.
type job struct {
	id, name, profile, userAgent string
	size                         int64
	md5, sha1, sha256            string
	code                         int
	blocked                      string // reason
	engines                      []engineSaid
	children                     []*job
	extracted                    bool
	encrypted                    bool
	dlp, vuln                    int
	copy                         []byte // sanitised
	partial                      bool

	submitted, ready    time.Time
	cancelled, outdated bool
}

type engineSaid struct {
	Engine
	code   int
	threat string
}

// progress is a percentage of time.
func (j *job) progress() int {
	now := time.Now()
	if j.cancelled || !now.Before(j.ready) {
		return 100
	}
	return int(99 * now.Sub(j.submitted) / j.ready.Sub(j.submitted))
}

// judge reads the content to its end and decides what the report will be.
func (s *Server) judge(r io.Reader, name string) (*job, error) {
	j := &job{id: newID(), name: name, submitted: time.Now()}
	m, s1, s2 := md5.New(), sha1.New(), sha256.New()
	f := &finder{want: eicar}
	var head bytes.Buffer
	n, err := io.Copy(io.MultiWriter(m, s1, s2, f), io.TeeReader(r, &limited{w: &head, left: kept}))
	if err != nil {
		return nil, err
	}
	j.size = n
	j.md5, j.sha1, j.sha256 = hex.EncodeToString(m.Sum(nil)), hex.EncodeToString(s1.Sum(nil)), hex.EncodeToString(s2.Sum(nil))
	s.mu.Lock()
	engines := s.engines
	s.mu.Unlock()
	budget := &budget{entries: s.o.MaxEntries, bytes: s.o.MaxExpand}
	wait := s.look(j, head.Bytes(), f.found, engines, 0, budget)
	if wait < 0 {
		wait = s.o.Latency
	}
	j.ready = j.submitted.Add(wait)
	return j, nil
}

type budget struct {
	entries int
	bytes   int64
}

// look sets the outcome for content; it returns the wait that it asks for, or -1.
func (s *Server) look(j *job, b []byte, infected bool, engines []Engine, depth int, left *budget) time.Duration {
	wait, fails, code := time.Duration(-1), 0, -1
	if bytes.HasPrefix(b, []byte("PK\x03\x04")) {
		j.extracted = true
		code = s.extract(j, b, engines, depth, left)
	} else {
		for _, m := range marker.FindAllSubmatch(b, 64) {
			word := string(m[2])
			n, _ := strconv.Atoi(word)
			switch string(m[1]) {
			case "CODE":
				code = n
			case "BLOCK":
				j.blocked = strings.ReplaceAll(word, "_", " ")
			case "SANITIZE", "SANITIZE-PARTIAL":
				j.copy, j.partial = []byte("sanitised: "+strings.Repeat("x", int(min(j.size, 4096)))), string(m[1]) != "SANITIZE"
			case "DLP":
				j.dlp = n
			case "VULN":
				j.vuln = n
			case "FAIL":
				fails = n
			case "WAIT":
				wait = time.Duration(n) * time.Millisecond
			}
		}
	}
	if infected && !j.extracted {
		code = 1
	}
	if code < 0 {
		code = 0
	}
	working := 0
	for _, g := range engines {
		if g.Kind != "av" || !g.Active {
			continue
		}
		said := engineSaid{Engine: g}
		switch {
		case g.Fails || fails > 0:
			said.code, fails = 3, fails-1
		case infected && !j.extracted:
			said.code, said.threat = 1, "EICAR-Test-File"
			working++
		case code == 1 && !j.extracted:
			said.code, said.threat = 1, "Win.Test.Marker"
			working++
		case code == 10:
			said.code = 10
		default:
			working++
		}
		j.engines = append(j.engines, said)
	}
	if code == 0 && working == 0 {
		code = 3
	}
	if code == 0 && j.dlp > 0 {
		code = 20
	}
	if code == 0 && j.vuln > 0 {
		code = 18
	}
	j.code = code
	return wait
}

// extract makes children of a zip's members and returns the archive's code.
func (s *Server) extract(j *job, b []byte, engines []Engine, depth int, left *budget) int {
	if depth >= s.o.MaxDepth {
		return 9
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return 24
	}
	worst := 0
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if left.entries--; left.entries < 0 {
			return 14
		}
		if f.Flags&1 != 0 {
			j.encrypted = true
			return 12
		}
		r, err := f.Open()
		if err != nil {
			return 24
		}
		content, err := io.ReadAll(io.LimitReader(r, left.bytes+1))
		_ = r.Close()
		if left.bytes -= int64(len(content)); left.bytes < 0 {
			return 13
		}
		if err != nil {
			return 24
		}
		sum := sha256.Sum256(content)
		c := &job{id: newID(), name: j.name + "/[Content]/" + f.Name, size: int64(len(content)), sha256: hex.EncodeToString(sum[:])}
		s.look(c, content, bytes.Contains(content, eicar), engines, depth+1, left)
		j.children = append(j.children, c)
		if c.code != 0 && (worst == 0 || c.code < worst) {
			worst = c.code
		}
	}
	return worst
}

// finder looks for want in what is written to it.
type finder struct {
	want, tail []byte
	found      bool
}

func (f *finder) Write(p []byte) (int, error) {
	if !f.found {
		b := append(f.tail, p...)
		f.found = bytes.Contains(b, f.want)
		f.tail = append([]byte(nil), b[max(0, len(b)-len(f.want)+1):]...)
	}
	return len(p), nil
}

// limited drops what is over its limit.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, fmt.Errorf("keep the head: %w", err)
	}
	return len(p), nil
}
