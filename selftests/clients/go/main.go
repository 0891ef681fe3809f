// SPDX-License-Identifier: GPL-2.0

// A Go program with system calls of its own: goroutines with a ring each write and read, while the collector of
// garbage runs and interrupts them, and the program executes itself. For "ruring run".
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	sysSetup    = 425
	sysEnter    = 426
	sysRegister = 427

	opNop   = 0
	opRead  = 22
	opWrite = 23

	enterGetevents = 1
	registerProbe  = 8

	entries = 8
	block   = 4096
	rounds  = 100
	workers = 4
)

// struct io_uring_params
type params struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFd uint32
	resv                                                               [3]uint32
	sq                                                                 struct {
		head, tail, ringMask, ringEntries, flags, dropped, array, resv uint32
		userAddr                                                       uint64
	}
	cq struct {
		head, tail, ringMask, ringEntries, overflow, cqes, flags, resv uint32
		userAddr                                                       uint64
	}
}

// struct io_uring_sqe
type sqe struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off, addr     uint64
	len, opFlags  uint32
	userData      uint64
	rest          [3]uint64
}

// struct io_uring_cqe
type cqe struct {
	userData   uint64
	res, flags int32
}

type ring struct {
	fd         int
	p          params
	rings      []byte
	sqes, data []byte
}

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	os.Exit(1)
}

func (r *ring) word(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[offset])) }

func newRing() *ring {
	r := &ring{}
	fd, _, errno := syscall.Syscall(sysSetup, entries, uintptr(unsafe.Pointer(&r.p)), 0)
	if errno != 0 {
		fail("io_uring_setup", errno)
	}
	r.fd = int(fd)
	size := int(max(r.p.sq.array+4*r.p.sqEntries, r.p.cq.cqes+16*r.p.cqEntries))
	protection, shared := syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED
	var err error
	if r.rings, err = syscall.Mmap(r.fd, 0, size, protection, shared); err != nil {
		fail("mmap of the rings", err)
	}
	if r.sqes, err = syscall.Mmap(r.fd, 0x10000000, int(r.p.sqEntries)*64, protection, shared); err != nil {
		fail("mmap of the SQEs", err)
	}
	// Stacks move: what the kernel writes to is not on one.
	if r.data, err = syscall.Mmap(-1, 0, block, protection, shared|syscall.MAP_ANON); err != nil {
		fail("mmap", err)
	}
	return r
}

// Does one request, and returns its result.
func (r *ring) do(request sqe) int32 {
	tail := atomic.LoadUint32(r.word(r.p.sq.tail))
	index := tail & *r.word(r.p.sq.ringMask)
	*(*sqe)(unsafe.Pointer(&r.sqes[64*index])) = request
	*r.word(r.p.sq.array + 4*index) = index
	atomic.StoreUint32(r.word(r.p.sq.tail), tail+1)
	for submit := uintptr(1); ; {
		nr, _, errno := syscall.Syscall6(sysEnter, uintptr(r.fd), submit, 1, enterGetevents, 0, 0)
		if errno == 0 {
			submit -= nr
		} else if errno != syscall.EINTR && errno != syscall.EAGAIN {
			fail("io_uring_enter", errno)
		}
		head := atomic.LoadUint32(r.word(r.p.cq.head))
		if head != atomic.LoadUint32(r.word(r.p.cq.tail)) {
			c := *(*cqe)(unsafe.Pointer(&r.rings[r.p.cq.cqes+16*(head&*r.word(r.p.cq.ringMask))]))
			atomic.StoreUint32(r.word(r.p.cq.head), head+1)
			if c.userData != request.userData {
				fail("CQE", fmt.Errorf("of %d instead of %d", c.userData, request.userData))
			}
			return c.res
		}
	}
}

func (r *ring) transfer(op uint8, fd int, offset uint64, userData uint64) {
	request := sqe{opcode: op, fd: int32(fd), off: offset, len: block, userData: userData}
	request.addr = uint64(uintptr(unsafe.Pointer(&r.data[0])))
	if res := r.do(request); res != block {
		fail("transfer", fmt.Errorf("%d", res))
	}
}

// Writes blocks and reads them again.
func work(file *os.File, number int) {
	r := newRing()
	for i := range rounds {
		offset := uint64(number*rounds+i) * block
		for at := range r.data {
			r.data[at] = byte(number ^ i ^ at)
		}
		r.transfer(opWrite, int(file.Fd()), offset, offset)
		clear(r.data)
		r.transfer(opRead, int(file.Fd()), offset, offset+1)
		for at := range r.data {
			if r.data[at] != byte(number^i^at) {
				fail("data", fmt.Errorf("wrong in block %d of %d", i, number))
			}
		}
		if r.do(sqe{opcode: opNop, userData: 7}) != 0 {
			fail("nop", nil)
		}
	}
	syscall.Close(r.fd)
}

// Makes garbage, and has it collected: what runs is interrupted by signals, what sleeps is not.
func collect(over *atomic.Bool) {
	for !over.Load() {
		var keep [][]byte
		for range 100 {
			keep = append(keep, make([]byte, 10000))
		}
		runtime.KeepAlive(keep)
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func main() {
	r := newRing()
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", r.fd))
	if err != nil {
		fail("readlink", err)
	}
	var probe [16 + 8*8]byte
	if _, _, errno := syscall.Syscall6(sysRegister, uintptr(r.fd), registerProbe, uintptr(unsafe.Pointer(&probe[0])),
		8, 0, 0); errno != 0 {
		fail("io_uring_register", errno)
	}
	if _, _, errno := syscall.Syscall6(sysRegister, uintptr(r.fd), 999, 0, 0, 0, 0); errno != syscall.EINVAL {
		fail("io_uring_register", errno)
	}
	if len(os.Args) == 3 && os.Args[2] == "again" {
		fmt.Println("again", name)
		return
	}

	file, err := os.CreateTemp(os.Args[1], "go")
	if err != nil {
		fail("file", err)
	}
	defer os.Remove(file.Name())
	var over atomic.Bool
	var group sync.WaitGroup
	go collect(&over)
	for number := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			// Some keep their thread, and threads end with their goroutine.
			if number%2 == 1 {
				runtime.LockOSThread()
			}
			work(file, number)
		}()
	}
	group.Wait()
	over.Store(true)

	again, err := exec.Command("/proc/self/exe", os.Args[1], "again").CombinedOutput()
	if err != nil || string(again) != "again "+name+"\n" {
		fail("executed again", fmt.Errorf("%v: %s", err, again))
	}
	fmt.Printf("%s in %s, %d transfers\n", runtime.Version(), name, 2*workers*rounds)
}
