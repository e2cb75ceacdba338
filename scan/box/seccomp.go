package box

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

func capset(hdr *unix.CapUserHeader, data *[2]unix.CapUserData) error {
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(data)), 0)
	runtime.KeepAlive(hdr)
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}

// allowed are the system calls of a child: reading what it was given, writing
// its answer and its spool, and what the Go runtime needs. Whatever is not
// here is refused with EPERM: files, sockets, processes, tracing, mounts, keys,
// bpf, io_uring and all that is yet to be invented.
var allowed = [...]uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_RECVMSG, unix.SYS_LSEEK,
	unix.SYS_FTRUNCATE, unix.SYS_FSTAT, unix.SYS_CLOSE, unix.SYS_FCNTL,
	unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETRANDOM, unix.SYS_GETRUSAGE,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_TGKILL, unix.SYS_RESTART_SYSCALL,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
}

// Places in struct seccomp_data; the architectures here are little endian.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

// program returns the filter. A wrong architecture ends the process.
func program() []unix.SockFilter {
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		jset = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
		deny = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	p := []unix.SockFilter{
		{Code: load, K: dataArch},
		{Code: jeq, K: auditArch, Jt: 1},
		{Code: ret, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: load, K: dataNr},
		{Code: jge, K: 0x40000000, Jf: 1}, // x32
		{Code: ret, K: deny},
	}
	for _, list := range [...][]uint32{allowed[:], archAllowed[:]} {
		for _, nr := range list {
			p = append(p, unix.SockFilter{Code: jeq, K: nr, Jf: 1}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
		}
	}
	// Those that depend on an argument: a thread and no process, memory and no code.
	for _, c := range [...]struct {
		nr, arg, bits uint32
		set           bool // the bits must be set; else they must not
	}{
		{unix.SYS_CLONE, 0, unix.CLONE_THREAD, true},
		{unix.SYS_MMAP, 2, unix.PROT_EXEC, false},
		{unix.SYS_MPROTECT, 2, unix.PROT_EXEC, false},
	} {
		yes, no := uint32(unix.SECCOMP_RET_ALLOW), uint32(deny)
		if !c.set {
			yes, no = no, yes
		}
		p = append(p,
			unix.SockFilter{Code: jeq, K: c.nr, Jf: 4},
			unix.SockFilter{Code: load, K: dataArgs + 8*c.arg},
			unix.SockFilter{Code: jset, K: c.bits, Jf: 1},
			unix.SockFilter{Code: ret, K: yes},
			unix.SockFilter{Code: ret, K: no})
	}
	return append(p,
		// A C library takes this for an old kernel and turns to clone.
		unix.SockFilter{Code: jeq, K: unix.SYS_CLONE3, Jf: 1},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		unix.SockFilter{Code: ret, K: deny})
}

// filterSyscalls puts the filter on all threads at once. It needs
// no_new_privs.
func filterSyscalls() error {
	p := program()
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(p)
	if errno != 0 {
		return errno
	}
	if r != 0 { // a thread that could not be brought in
		return unix.ESRCH
	}
	return nil
}
