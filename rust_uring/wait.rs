// SPDX-License-Identifier: GPL-2.0

//! Waiting for CQEs.
//!
//! Stands for `io_uring/wait.c`. What differs: the second phase of a minimum wait begins in the
//! waiting task rather than in the timer, and work that another subsystem has for this task cannot
//! be run here. For that the call returns `ERESTARTNOINTR`: the kernel runs that work on the way
//! out and enters again, and [`Restarts`] remembers what had been done.

#![forbid(unsafe_code)]

use crate::{
    complete,
    ctx::{
        Ctx,
        State,
        CHECK_LOST,
        CHECK_OVERFLOW,
        WAIT_NR_NONE, //
    },
    sys::{
        task::{
            self,
            Clock,
            Deadline,
            Iowait,
            Sigmask, //
        },
        task_work,
        trace, //
    }, //
};
use core::cell::Cell;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Relaxed,
            Release, //
        },
        barrier::{
            smp_mb,
            Full, //
        }, //
    }, //
};

/// What an `enter` asks the wait for.
#[derive(Clone, Copy, Default)]
pub(crate) struct WaitFor {
    /// CQEs that are to be there.
    pub(crate) events: u32,
    /// When to give up, in nanoseconds: from the start, or on the ring's clock if `absolute`.
    pub(crate) timeout: Option<i64>,
    /// `IORING_ENTER_ABS_TIMER`
    pub(crate) absolute: bool,
    /// For so many nanoseconds wait for all of them, then be content with one.
    pub(crate) min_wait: i64,
    /// User address of the signal mask for the time of the wait, or 0.
    pub(crate) sigmask: u64,
    /// Its size in bytes.
    pub(crate) sigmask_size: usize,
    /// Not `IORING_ENTER_NO_IOWAIT`.
    pub(crate) iowait: bool,
}

/// Why a turn of waiting did not sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awake {
    No,
    Work,
    Foreign,
    Signal,
    Enough,
}

/// Where one wait stands.
struct Turn {
    /// The CQ's tail that satisfies the wait.
    target: u32,
    /// How many completions a turn runs.
    batch: u32,
    /// The CQ's tail when the wait began.
    first_tail: u32,
    /// The second, less demanding part of a minimum wait has begun.
    relaxed: bool,
}

fn reached(tail: u32, target: u32) -> bool {
    // CAST: The sign of the distance is the answer.
    tail.wrapping_sub(target) as i32 >= 0
}

/// Head and tail of the CQ as the shared memory says.
fn cq_span(ctx: &Ctx) -> (u32, u32) {
    ctx.rings
        .read(|rings| rings.map_or((0, 0), |r| (r.cq_head().load(), r.cq_tail().load())))
}

/// Whether there are enough CQEs, and nothing else that [`wait`] would do. The caller may run completions.
#[inline]
pub(crate) fn is_satisfied(ctx: &Ctx, state: &State, events: u32) -> bool {
    let rings = &state.rings;
    // CAST: A negative number is left to `wait`.
    events as i32 >= 0 && rings.cq_ready() >= events.min(rings.cq_entries) && !ctx.has_work()
}

/// Waits until there are enough CQEs.
///
/// `start` is when the call began, on the ring's clock.
///
/// `ETIME` and `EINTR` are told only if the CQ is empty. `EBADR` when CQEs were lost, `EEXIST` for
/// the wrong task, `EFAULT` or `EINVAL` for the signal mask, `ERESTARTNOINTR` see above.
/// Context: may sleep.
pub(crate) fn wait(ctx: &Ctx, what: &WaitFor, clock: Clock, start: i64) -> Result {
    if !ctx.may_run() {
        return Err(EEXIST);
    }
    let entries = ctx.rings.read(|rings| rings.map_or(0, |r| r.cq_entries));
    // As natively the number is a signed one, and less than none is there at once.
    // CAST: Same bits.
    let events = if (what.events as i32) < 0 {
        what.events
    } else {
        what.events.min(entries)
    };
    run_pending(ctx, events);
    let (head, tail) = cq_span(ctx);
    if tail.wrapping_sub(head) >= events {
        return Ok(());
    }
    let sigmask = if what.sigmask != 0 {
        Some(Sigmask::set(what.sigmask, what.sigmask_size)?)
    } else {
        None
    };
    trace::wait(&**ctx, || (events,));

    let timeout = what.timeout.map(|t| {
        if what.absolute {
            clock.to_host(t)
        } else {
            t.saturating_add(start)
        }
    });
    let target = head.wrapping_add(events);
    let turn = Turn {
        target,
        // CAST: A negative distance is none.
        batch: (target.wrapping_sub(tail) as i32).max(0) as u32,
        first_tail: tail,
        relaxed: false,
    };
    let registered = Waiter::new(ctx);
    let result = wait_loop(
        ctx,
        what,
        clock,
        start,
        timeout.filter(|t| *t != i64::MAX),
        turn,
    );
    drop(registered);
    if let Some(sigmask) = sigmask {
        sigmask.restore(result == Err(EINTR));
    }
    if result == Err(ERESTARTNOINTR) {
        return result;
    }
    let (head, tail) = cq_span(ctx);
    if head == tail {
        result
    } else {
        Ok(())
    }
}

/// Runs the completion list and flushes the overflow list, if there is anything in them.
fn run_pending(ctx: &Ctx, events: u32) {
    if ctx.has_work() {
        let mut state = ctx.state.lock();
        complete::run(ctx, &mut state, events.max(complete::BATCH));
        complete::flush_overflow(ctx, &mut state);
    }
}

/// While it lives, whoever posts CQEs wakes the waiting tasks.
struct Waiter<'a>(Option<&'a Ctx>);

impl<'a> Waiter<'a> {
    fn new(ctx: &'a Ctx) -> Self {
        // In a ring that defers, the waiting task is the only one that posts.
        if ctx.defers() {
            return Self(None);
        }
        ctx.state.lock().waiters += 1;
        Self(Some(ctx))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(ctx) = self.0 {
            ctx.state.lock().waiters -= 1;
        }
    }
}

/// What interrupts the current call: it may be work of others for this task, or ours.
struct Interruption<'a> {
    ctx: &'a Ctx,
    calmed: Cell<bool>,
}

impl<'a> Interruption<'a> {
    fn new(ctx: &'a Ctx) -> Self {
        let calmed = Cell::new(false);
        Self { ctx, calmed }
    }

    /// Whether others want the task to leave the kernel. What the ring wants is done here as well as there.
    fn is_foreign(&self) -> bool {
        if !task::notify_signal() {
            return false;
        }
        // The ring does not ask again before the task has left.
        if self.calmed.get() || !self.ctx.is_to_run_here() {
            return true;
        }
        self.calmed.set(true);
        task_work::calm();
        false
    }
}

fn wait_loop(
    ctx: &Ctx,
    what: &WaitFor,
    clock: Clock,
    start: i64,
    timeout: Option<i64>,
    mut turn: Turn,
) -> Result {
    let interruption = Interruption::new(ctx);
    loop {
        let minimum = what.min_wait != 0 && !turn.relaxed;
        let at = if minimum {
            Some(start.saturating_add(what.min_wait))
        } else {
            timeout
        };
        let deadline = at.map(|at| Deadline { clock, at });
        let (awake, mut timed_out) = sleep(ctx, what, &turn, deadline, &interruption);
        let mut again = false;
        if timed_out && minimum {
            (timed_out, again) = relax(ctx, &mut turn, timeout.is_some());
        }

        if ctx.has_completions() {
            complete::run(ctx, &mut ctx.state.lock(), turn.batch);
        }
        // Only now: whoever woke us for the list counts on us.
        if awake == Awake::Foreign {
            return Err(ERESTARTNOINTR);
        }
        if timed_out {
            return Err(ETIME);
        }
        if awake == Awake::Signal {
            return Err(EINTR);
        }
        let check = ctx.check.load(Relaxed);
        if check != 0 {
            if check & CHECK_OVERFLOW != 0 {
                complete::flush_overflow(ctx, &mut ctx.state.lock());
                // No room: it takes the application to change that.
                if ctx.check.load(Relaxed) & CHECK_OVERFLOW != 0 {
                    return Ok(());
                }
            }
            if check & CHECK_LOST != 0 {
                return Err(EBADR);
            }
        }
        if !again && reached(cq_span(ctx).1, turn.target) {
            return Ok(());
        }
        task::cond_resched();
    }
}

/// The minimum wait is over: from now on one CQE will do.
///
/// Returns whether that ends the wait, and whether to look again before it is satisfied.
fn relax(ctx: &Ctx, turn: &mut Turn, has_timeout: bool) -> (bool, bool) {
    if !has_timeout {
        return (true, false);
    }
    turn.relaxed = true;
    turn.target = turn.first_tail.wrapping_add(1);
    if ctx.has_work() {
        // It is not known yet whether that will be a CQE.
        return (false, false);
    }
    let (head, tail) = cq_span(ctx);
    if tail != turn.first_tail || tail != head {
        return (true, false);
    }
    (false, true)
}

/// One turn: sleeps unless there is a reason not to. Returns that, and whether the deadline passed.
fn sleep(
    ctx: &Ctx,
    what: &WaitFor,
    turn: &Turn,
    deadline: Option<Deadline>,
    interruption: &Interruption<'_>,
) -> (Awake, bool) {
    let target = turn.target;
    let awake = Cell::new(Awake::No);
    let ready = || {
        awake.set(if ctx.check.load(Relaxed) != 0 || ctx.has_completions() {
            Awake::Work
        } else if task::sigpending() {
            Awake::Signal
        } else if interruption.is_foreign() {
            Awake::Foreign
        } else if reached(cq_span(ctx).1, target) {
            Awake::Enough
        } else {
            Awake::No
        });
        awake.get() != Awake::No
    };
    let (in_flight, draining) = {
        let state = ctx.state.lock();
        (state.cache.in_use() != 0, state.drain.is_active())
    };
    let _iowait = (what.iowait && in_flight).then(Iowait::enter);
    let timed_out = if ctx.defers() {
        // CAST: Never more than there are entries in a CQ.
        let missing = target.wrapping_sub(cq_span(ctx).1) as i32;
        // What is drained is issued by nobody else.
        let missing = if turn.relaxed || draining { 1 } else { missing };
        let timed_out = task::sleep(
            || {
                ctx.wait_nr.store(missing, Release);
                // Pairs with the barrier in `Inbox::push`.
                smp_mb(Full);
                ready()
            },
            deadline,
        );
        ctx.wait_nr.store(WAIT_NR_NONE, Relaxed);
        timed_out
    } else {
        let filter = || reached(cq_span(ctx).1, target) || ctx.has_work();
        ctx.cq_wait.sleep(&filter, ready, deadline)
    };
    (awake.get(), timed_out)
}

/// How long to sleep at most before looking again at what may have changed unnoticed. Nanoseconds.
const GLANCE: i64 = 20_000_000;

/// Waits until `done` has a result: it is asked with the lock held, at first and after whatever completes.
///
/// `ETIME`, `EINTR`. Context: may sleep.
pub(crate) fn until(
    ctx: &Ctx,
    deadline: Option<Deadline>,
    mut done: impl FnMut(&mut State) -> Option<Result<i32>>,
) -> Result<i32> {
    let _waiter = Waiter::new(ctx);
    let clock = Clock::Monotonic;
    let interruption = Interruption::new(ctx);
    loop {
        {
            let mut state = ctx.state.lock();
            if ctx.may_run() {
                complete::run(ctx, &mut state, complete::BATCH);
            }
            let result = done(&mut state);
            complete::settle(ctx, &mut state);
            if let Some(result) = result {
                return result;
            }
        }
        if task::sigpending() || interruption.is_foreign() {
            return Err(EINTR);
        }
        let now = clock.now();
        let at = now.saturating_add(GLANCE);
        if deadline.is_some_and(|deadline| deadline.at <= now) {
            return Err(ETIME);
        }
        let at = deadline.map_or(at, |deadline| deadline.at.min(at));
        let ready = || ctx.has_completions() || task::sigpending();
        ctx.cq_wait
            .sleep(&|| true, ready, Some(Deadline { clock, at }));
    }
}

/// One call that went back to user space for a moment.
#[derive(Clone, Copy)]
pub(crate) struct Restart {
    /// Which task.
    pub(crate) task: usize,
    /// The call's arguments, to know it again.
    pub(crate) call: [u64; 4],
    /// SQEs that it has consumed.
    pub(crate) submitted: u32,
    /// When it began, on the ring's clock.
    pub(crate) start: i64,
}

/// The calls that are about to come back. Tasks that die instead leave their entry; so there is a
/// limit, and the oldest go.
pub(crate) struct Restarts(KVec<Restart>);

impl Restarts {
    const MAX: usize = 64;

    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Whether no call is to come back: the usual case.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers a call. `ENOMEM`.
    pub(crate) fn push(&mut self, restart: Restart) -> Result {
        self.0.retain(|r| r.task != restart.task);
        if self.0.len() >= Self::MAX {
            drop(self.0.remove(0));
        }
        Ok(self.0.push(restart, GFP_KERNEL)?)
    }

    /// Takes the entry of this very call of this task, and forgets any other call of it.
    pub(crate) fn take(&mut self, task: usize, call: [u64; 4]) -> Option<Restart> {
        let found = self.0.iter().find(|r| r.task == task).copied();
        self.0.retain(|r| r.task != task);
        found.filter(|r| r.call == call)
    }
}

#[kunit_tests(rust_uring_wait)]
mod tests {
    use super::*;

    #[test]
    fn tail_reaches_target_across_the_wrap() {
        assert!(reached(5, 5));
        assert!(reached(2, u32::MAX));
        assert!(!reached(u32::MAX, 2));
    }

    #[test]
    fn restart_is_taken_once_and_only_by_its_call() -> Result {
        let mut restarts = Restarts::new();
        let restart = Restart {
            task: 7,
            call: [1, 2, 3, 4],
            submitted: 4,
            start: 5,
        };
        restarts.push(restart)?;
        assert!(restarts.take(8, [1, 2, 3, 4]).is_none());
        assert_eq!(restarts.take(7, [1, 2, 3, 4]).map(|r| r.submitted), Some(4));
        assert!(restarts.take(7, [1, 2, 3, 4]).is_none());
        restarts.push(restart)?;
        assert!(restarts.take(7, [1, 2, 3, 9]).is_none());
        assert!(restarts.is_empty());
        Ok(())
    }

    #[test]
    fn restarts_are_bounded() -> Result {
        let mut restarts = Restarts::new();
        for task in 0..Restarts::MAX + 10 {
            restarts.push(Restart {
                task,
                call: [0; 4],
                submitted: 0,
                start: 0,
            })?;
        }
        assert!(restarts.take(0, [0; 4]).is_none());
        assert!(restarts.take(Restarts::MAX + 9, [0; 4]).is_some());
        Ok(())
    }
}
