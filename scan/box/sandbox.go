package box

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// limits are what a child puts on itself, above what it has at its start.
type limits struct {
	Memory int64         `json:"memory"` // bytes
	CPU    time.Duration `json:"cpu"`    // of its whole life
	File   int64         `json:"file"`   // bytes that one file may grow to
}

// Status says which walls stand around the children.
type Status struct {
	Rlimits         bool `json:"rlimits"` // memory, CPU, descriptors, file size, no core
	NoNewPrivileges bool `json:"no_new_privileges"`
	Capabilities    bool `json:"capabilities_dropped"`
	Seccomp         bool `json:"seccomp"`
	// Landlock is the kernel's ABI version, all of which is used: from 1 the file
	// system is closed, from 4 TCP, from 6 signals and abstract sockets. 0 = none.
	Landlock int `json:"landlock"`
	// Missing says what is not in force and why.
	Missing []string `json:"missing,omitempty"`
}

// Complete reports whether all walls stand: what `sandbox: required` demands.
// Landlock counts from version 1, since seccomp closes the rest as well.
func (s Status) Complete() bool {
	return s.Rlimits && s.NoNewPrivileges && s.Capabilities && s.Seccomp && s.Landlock > 0
}

// enclose puts up the walls, each as strict as the kernel has it; what is not
// to be had is in Missing. The error is for what no kernel refuses.
//
// RLIMIT_NPROC is not among them: it counts threads, which the Go runtime must
// be able to start. That no process can be started is seccomp's.
func enclose(lim limits) (Status, error) {
	var s Status
	missing := func(what string, err error) { s.Missing = append(s.Missing, what+": "+err.Error()) }
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return s, fmt.Errorf("dumpable: %w", err)
	}
	if err := closeInherited(); err != nil {
		missing("descriptors", err)
	}
	if err := setRlimits(lim); err != nil {
		missing("rlimits", err)
	} else {
		s.Rlimits = true
	}
	if err := dropCapabilities(); err != nil {
		missing("capabilities", err)
	} else {
		s.Capabilities = true
	}
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		missing("no_new_privs", errno)
	} else {
		s.NoNewPrivileges = true
	}
	if abi, err := lockFiles(); err != nil {
		missing("landlock", err)
	} else {
		s.Landlock = abi
	}
	if err := filterSyscalls(); err != nil {
		missing("seccomp", err)
	} else {
		s.Seccomp = true
	}
	return s, nil
}

// closeInherited closes what the parent had open without close-on-exec, as some
// do who start it. The runtime's own descriptors are anonymous inodes and
// control groups.
func closeInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= fdSpool {
			continue
		}
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

// setRlimits bounds data and address space relative to what the program has
// mapped already, which differs between builds.
func setRlimits(lim limits) error {
	vm, data, err := mapped()
	if err != nil {
		return err
	}
	cpu := uint64(max(lim.CPU/time.Second, 1))
	for _, l := range [...]struct {
		what     int
		cur, max uint64
	}{
		{unix.RLIMIT_DATA, data + uint64(lim.Memory), data + uint64(lim.Memory)},
		{unix.RLIMIT_AS, vm + 4*uint64(lim.Memory), vm + 4*uint64(lim.Memory)}, // the runtime reserves ahead
		{unix.RLIMIT_CPU, cpu, cpu + 1},
		{unix.RLIMIT_NOFILE, 16, 16},
		{unix.RLIMIT_FSIZE, uint64(lim.File), uint64(lim.File)},
		{unix.RLIMIT_CORE, 0, 0},
		{unix.RLIMIT_MEMLOCK, 0, 0},
		{unix.RLIMIT_MSGQUEUE, 0, 0},
	} {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.cur, Max: l.max}); err != nil {
			return fmt.Errorf("rlimit %d: %w", l.what, err)
		}
	}
	return nil
}

// mapped returns the bytes of address space and of data that are in use.
func mapped() (vm, data uint64, err error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 6 {
		return 0, 0, fmt.Errorf("statm: %q", b)
	}
	if vm, err = strconv.ParseUint(f[0], 10, 64); err != nil {
		return 0, 0, err
	}
	if data, err = strconv.ParseUint(f[5], 10, 64); err != nil {
		return 0, 0, err
	}
	page := uint64(os.Getpagesize())
	return vm * page, data * page, nil
}

// dropCapabilities gives up whatever a child of root would have kept.
func dropCapabilities() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return capset(&hdr, &data)
}

// lockFiles denies every file, and what else landlock knows, by the newest
// version that both the kernel and the library have. It is all or nothing:
// the library's own best effort would not say what it left out.
func lockFiles() (int, error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0, err
	}
	configs := [...]landlock.Config{landlock.V1, landlock.V2, landlock.V3, landlock.V4, landlock.V5, landlock.V6,
		landlock.V7, landlock.V8, landlock.V9, landlock.V10}
	abi = min(abi, len(configs))
	if abi < 1 {
		return 0, unix.ENOSYS
	}
	return abi, configs[abi-1].Restrict()
}
