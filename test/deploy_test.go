package test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/landwaiter/landwaiter/test/servers"
)

const unitFile = "../deploy/landwaiter.service"

// analyze runs systemd-analyze, which needs no running systemd for what we ask.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		servers.Missing(t, "systemd-analyze")
	}
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// unit returns the path of a copy of the unit whose program exists here.
func unit(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), filepath.Base(unitFile))
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(data), "=/usr/bin/landwaiter", "="+self)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestUnitIsValid(t *testing.T) {
	out, err := analyze(t, "verify", unit(t))
	if err != nil || strings.Contains(out, "landwaiter") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestUnitIsHardened(t *testing.T) {
	out, err := analyze(t, "security", "--offline=yes", "--threshold=15", unit(t))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	t.Log(lines[len(lines)-1])
	if err != nil {
		t.Errorf("systemd-analyze security: the exposure is above 1.5: %v\n%s", err, out)
	}
}

// The filter must leave what the daemon and its boxed children call.
func TestUnitAllowsWhatIsNeeded(t *testing.T) {
	out, err := analyze(t, "syscall-filter")
	if err != nil {
		t.Fatalf("systemd-analyze syscall-filter: %v\n%s", err, out)
	}
	groups, group := map[string][]string{}, ""
	for line := range strings.Lines(out) {
		switch name := strings.TrimSpace(line); {
		case name == "" || strings.HasPrefix(name, "#"):
		case strings.HasPrefix(line, "@"):
			group = name
		default:
			groups[group] = append(groups[group], name)
		}
	}
	data, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	var set func(name string, to bool)
	set = func(name string, to bool) {
		if !strings.HasPrefix(name, "@") {
			allowed[name] = to
			return
		}
		if groups[name] == nil {
			t.Errorf("no group %s", name)
		}
		for _, member := range groups[name] {
			set(member, to)
		}
	}
	settings := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(string(data))); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		settings[key] = value
		if key != "SystemCallFilter" {
			continue
		}
		list, deny := strings.CutPrefix(value, "~")
		for name := range strings.FieldsSeq(list) {
			set(name, !deny)
		}
	}
	for _, name := range strings.Fields(`
		accept4 bind capget capset clone clone3 connect copy_file_range dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2 execve
		fallocate fcntl fdatasync fgetxattr flock fsetxattr fstat fsync ftruncate futex getdents64 getrandom getsockopt
		inotify_add_watch inotify_init1 inotify_rm_watch kill landlock_add_rule landlock_create_ruleset
		landlock_restrict_self linkat listen lseek madvise memfd_create mkdirat mmap mprotect munmap nanosleep newfstatat
		openat openat2 pidfd_open pidfd_send_signal pipe2 prctl pread64 prlimit64 pwrite64 read recvmsg renameat2 rt_sigaction
		rt_sigprocmask sched_getaffinity seccomp sendfile sendmsg setsockopt sigaltstack socket socketpair splice statfs statx
		tgkill timer_create unlinkat utimensat wait4 waitid write`) {
		if !allowed[name] {
			t.Errorf("the filter forbids %s", name)
		}
	}
	for _, name := range []string{"mount", "ptrace", "bpf", "reboot", "init_module", "setuid", "kexec_load", "perf_event_open"} {
		if allowed[name] {
			t.Errorf("the filter allows %s", name)
		}
	}
	for key, want := range map[string]string{"Type": "notify", "AmbientCapabilities": "CAP_LEASE", "CapabilityBoundingSet": "CAP_LEASE", "NoNewPrivileges": "yes"} {
		if settings[key] != want {
			t.Errorf("%s=%s, want %s", key, settings[key], want)
		}
	}
}
