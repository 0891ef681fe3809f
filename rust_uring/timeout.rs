// SPDX-License-Identifier: GPL-2.0

//! The place of requests that wait for a time, or for so many CQEs (`TIMEOUT`, `LINK_TIMEOUT`).
//!
//! What the ring knows of such a request is its [`Armed`]; the request itself is in the timer of that.
//! An expiry takes it and pushes it to the completion list; everybody else finds the `Armed` here and
//! takes.

#![forbid(unsafe_code)]

use crate::{
    complete,
    ctx::{
        Ctx,
        State, //
    },
    request::{
        After,
        ReqBox,
        Request, //
    },
    sys::{
        atomic::Atomic,
        index::{
            Index,
            Indexed,
            Links, //
        },
        mpsc::Linked,
        timer::{
            Timed,
            Timer,
            When, //
        }, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};

/// What a ring knows of a request that waits for a time.
#[pin_data]
pub(crate) struct Armed {
    links: Links<Armed>,
    /// Of a timeout of another request: that one is done.
    pub(crate) alone: Atomic<bool>,
    #[pin]
    pub(crate) timer: Timer<Request>,
}

impl Indexed for Armed {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Timed for Request {
    fn expired(mut this: KBox<Linked<Self>>) {
        this.after = After::Expired;
        complete::push_home(this, false);
    }
}

/// A timeout that so many CQEs end, too.
struct Counted {
    /// The sequence number that it waits for.
    target: u32,
    armed: Arc<Armed>,
}

/// All that wait for a time.
pub(crate) struct Timers {
    /// Requests that stand for themselves.
    pub(crate) alone: Index<Armed>,
    /// Timeouts of other requests.
    pub(crate) linked: Index<Armed>,
    /// Those that CQEs end, the first to end first.
    counted: KVec<Counted>,
    /// The sequence number of the last look at them.
    seen: u32,
    /// CQEs of timeouts, which do not count.
    posted: u32,
    /// For reuse.
    free: KVec<Arc<Armed>>,
}

/// How many are kept for reuse.
const FREE: usize = 64;

impl Timers {
    /// Nothing waits.
    pub(crate) fn new() -> Self {
        Self {
            alone: Index::new(),
            linked: Index::new(),
            counted: KVec::new(),
            seen: 0,
            posted: 0,
            free: KVec::new(),
        }
    }

    /// What a request waits with. `ENOMEM`. Context: may sleep.
    pub(crate) fn take_free(&mut self) -> Result<Arc<Armed>> {
        if let Some(armed) = self.free.pop() {
            return Ok(armed);
        }
        Arc::pin_init(
            pin_init!(Armed {
                links: Links::new(),
                alone: Atomic::new(false),
                timer <- Timer::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Gives it back.
    pub(crate) fn put_free(&mut self, armed: Arc<Armed>) {
        if self.free.len() < FREE && !armed.links.is_linked() {
            // Without memory it is not kept.
            let _ = self.free.push(armed, GFP_KERNEL_ACCOUNT);
        }
    }

    /// Whether CQEs can end a timeout.
    #[inline]
    pub(crate) fn count(&self) -> bool {
        !self.counted.is_empty()
    }

    /// A CQE of a timeout was posted.
    pub(crate) fn posted(&mut self) {
        self.posted = self.posted.wrapping_add(1);
    }

    fn forget_counted(&mut self, armed: &Armed) {
        if !self.counted.is_empty() {
            self.counted
                .retain(|counted| !core::ptr::eq(&*counted.armed, armed));
        }
    }

    /// Lets all go that is not in use. The ring is dying.
    pub(crate) fn clear(&mut self) {
        self.free = KVec::new();
    }
}

/// Whether sequence number `a` is before `b`, both not far from each other.
fn before(a: u32, b: u32) -> bool {
    // CAST: The sign of the distance is the answer.
    (a.wrapping_sub(b) as i32) < 0
}

/// Sequence number of the last CQE that was shown to the application, as far as it counts.
fn sequence(state: &State) -> u32 {
    state.cq.published().wrapping_sub(state.timers.posted)
}

/// Arms a request: it waits until `when`, and for so many CQEs at most. It may be over when this returns.
/// Gives it back if there is no memory.
pub(crate) fn arm(
    state: &mut State,
    req: ReqBox,
    armed: Arc<Armed>,
    when: When,
    counts: Option<u32>,
) -> core::result::Result<(), ReqBox> {
    if let Some(off) = counts {
        let tail = sequence(state);
        let timers = &mut state.timers;
        if timers.counted.is_empty() {
            timers.seen = tail;
        }
        let base = timers.seen;
        let tail = if before(tail, base) { base } else { tail };
        let target = tail.wrapping_add(off);
        let at = timers
            .counted
            .iter()
            .rposition(|other| target.wrapping_sub(base) >= other.target.wrapping_sub(base))
            .map_or(0, |at| at + 1);
        let counted = Counted {
            target,
            armed: armed.clone(),
        };
        if timers.counted.reserve(1, GFP_KERNEL_ACCOUNT).is_err() {
            return Err(req);
        }
        let _ = timers.counted.insert_within_capacity(at, counted);
    }
    match state.timers.alone.insert(req.cqe.user_data, armed) {
        Ok(armed) => {
            drop(armed.timer.put(req));
            armed.timer.start(when);
            Ok(())
        }
        Err(armed) => {
            state.timers.forget_counted(&armed);
            Err(req)
        }
    }
}

/// Takes a request that stands for itself out of its place. `None` if its time has come: then it is on
/// its way to the completion list.
pub(crate) fn take(state: &mut State, armed: &Armed) -> Option<ReqBox> {
    let req = armed.timer.take()?;
    forget(state, armed);
    Some(req)
}

/// Its time has come, or it was taken: the place forgets it.
pub(crate) fn forget(state: &mut State, armed: &Armed) {
    state.timers.forget_counted(armed);
    drop(state.timers.alone.remove(armed));
    drop(state.timers.linked.remove(armed));
}

/// Looks whether enough CQEs were posted for some of those that wait for that, and ends these. What
/// comes of it is left to the end of the batch. Returns whether there were any.
pub(crate) fn look_at_counted(ctx: &Ctx, state: &mut State) -> bool {
    let mut now = sequence(state);
    if before(now, state.timers.seen) {
        now = state.timers.seen;
    }
    let mut any = false;
    while let Some(first) = state.timers.counted.first() {
        let seen = state.timers.seen;
        if now.wrapping_sub(seen) < first.target.wrapping_sub(seen) {
            break;
        }
        let armed = first.armed.clone();
        match take(state, &armed) {
            Some(mut req) => {
                req.set_result(0, 0);
                complete::finish_soon(ctx, state, req);
                any = true;
            }
            // It expires at this moment.
            None => state.timers.forget_counted(&armed),
        }
    }
    state.timers.seen = now;
    any
}

/// Takes all requests out. The ring is dying.
pub(crate) fn take_any(state: &mut State) -> Option<ReqBox> {
    loop {
        let armed = state
            .timers
            .alone
            .pop()
            .or_else(|| state.timers.linked.pop())?;
        state.timers.forget_counted(&armed);
        if let Some(req) = armed.timer.take() {
            return Some(req);
        }
    }
}

/// The oldest one with this user data that stands for itself.
pub(crate) fn find(state: &State, user_data: u64) -> Option<Arc<Armed>> {
    let found = state.timers.alone.oldest(user_data).next()?;
    state.timers.alone.arc(found)
}

/// The oldest one of all that `wanted` agrees to.
pub(crate) fn find_by(state: &State, wanted: impl Fn(&Armed) -> bool) -> Option<Arc<Armed>> {
    let found = state.timers.alone.iter().find(|armed| wanted(armed))?;
    state.timers.alone.arc(found)
}

/// The timeout of another request, by its user data.
pub(crate) fn find_linked(state: &State, user_data: u64) -> Option<Arc<Armed>> {
    let found = state.timers.linked.oldest(user_data).next()?;
    state.timers.linked.arc(found)
}

/// Gives a timeout of another request its place, without letting the time run. Gives it back if there
/// is no memory.
pub(crate) fn arm_linked(
    state: &mut State,
    req: ReqBox,
    armed: &Arc<Armed>,
) -> core::result::Result<(), ReqBox> {
    armed.alone.store(false, Relaxed);
    let index = &mut state.timers.linked;
    if index.insert(req.cqe.user_data, armed.clone()).is_err() {
        return Err(req);
    }
    drop(armed.timer.put(req));
    Ok(())
}
