// SPDX-License-Identifier: GPL-2.0

//! Who may submit to a ring, and who runs its completion list.

#![forbid(unsafe_code)]

use super::{
    Ctx,
    CtxRef,
    RingCtx,
    State, //
};
use crate::{
    abi::SetupFlag,
    complete,
    iopoll,
    sys::{
        task,
        task_work::{
            self,
            RunInTask,
            TaskWork, //
        },
        workqueue, //
    }, //
};
use kernel::{
    sync::atomic::{
        Full,
        Relaxed, //
    },
    task::Task, //
};

impl RingCtx {
    /// The task that the ring is bound to.
    #[inline]
    pub(crate) fn submitter(&self) -> Option<&Task> {
        let bound = self.flags.contains(SetupFlag::SingleIssuer);
        self.submitter
            .as_ref()
            .filter(|_| bound)
            .map(|task| &**task)
    }

    /// Whether the task that submits posts CQEs whenever there are some, if there is just one such task: the
    /// ring neither defers them nor has a thread for it.
    #[inline]
    fn is_plain(&self) -> bool {
        let special = SetupFlag::DeferTaskrun | SetupFlag::Sqpoll;
        !self.flags.contains_any(special)
    }

    /// The current task begins to submit: what completes from now on is seen by it at the end.
    #[inline]
    pub(crate) fn attend(&self, _state: &mut State) {
        if !self.is_plain() {
            return;
        }
        match self.submitter.as_ref() {
            Some(task) if task::is_current(task) => {}
            other => self.attend_as_another(other.is_some()),
        }
        self.attended.store(true, Relaxed);
    }

    #[cold]
    fn attend_as_another(&self, has_first: bool) {
        if has_first || !self.submitter.populate(task::current()) {
            self.shared.store(true, Relaxed);
        }
    }

    /// The current task has submitted, and is going to look at the completion list.
    #[inline]
    pub(crate) fn stop_attending(&self, _state: &mut State) {
        if self.is_plain() {
            // A full barrier; pairs with that in `Inbox::push`.
            self.attended.xchg(false, Full);
        }
    }

    /// Whether somebody is going to look at the completion list, after the caller's push. Context: any.
    #[inline]
    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Relaxed)
    }

    /// Lets the task that submits run the completion list on its way out of the kernel. False if there is not
    /// just one, or the kernel does not have that. Context: any.
    pub(crate) fn interrupt_submitter(ctx: &Ctx) -> bool {
        if !ctx.is_plain() || ctx.shared.load(Relaxed) {
            return false;
        }
        let at_once = !ctx.flags.contains(SetupFlag::CoopTaskrun);
        let task = ctx.submitter.as_ref();
        task.is_some_and(|task| task_work::add(task, ctx, at_once))
    }

    /// Whether the current task has yet to run the completion list on its way out of the kernel.
    pub(crate) fn is_to_run_here(&self) -> bool {
        self.in_submitter.is_pending()
            && self.submitter.as_ref().is_some_and(|t| task::is_current(t))
    }

    /// Whether the current task may submit and register. Any may if the ring is not bound.
    #[inline]
    pub(crate) fn may_submit(&self) -> bool {
        if !self.flags.contains(SetupFlag::SingleIssuer) {
            return true;
        }
        self.submitter().is_some_and(task::is_current)
    }

    /// Whether the current task may run completions and so wait for them.
    #[inline]
    pub(crate) fn may_run(&self) -> bool {
        !self.defers() || self.submitter().is_some_and(task::is_current)
    }

    /// Whether requests can be issued by the current task as by others of its process: in a ring with a
    /// thread that submits, that is the one with the right credentials, as long as it lives.
    #[inline]
    pub(crate) fn is_submitting(&self) -> bool {
        self.sq_thread()
            .is_none_or(|thread| thread.leaves_completions())
    }

    /// Whether there are completions that the current task may run. In a ring with a thread that
    /// submits, none but that thread has its credentials and descriptors.
    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        self.owes_completions() && self.is_submitting()
    }

    /// Whether there are completions to be run by whomever.
    #[inline]
    pub(crate) fn owes_completions(&self) -> bool {
        !self.inbox.is_empty() || self.has_backlog.load(Relaxed)
    }
}

impl workqueue::Run for RingCtx {
    fn task(&self) -> &workqueue::Task<Self> {
        &self.runner
    }

    fn run(this: CtxRef) {
        complete::run_in_worker(&this);
    }
}

impl RunInTask for RingCtx {
    fn task_work(&self) -> &TaskWork<Self> {
        &self.in_submitter
    }

    fn run(this: CtxRef) {
        complete::run_in_submitter(&this);
    }
}

impl workqueue::Run<{ iopoll::POLLER }> for RingCtx {
    fn task(&self) -> &workqueue::Task<Self, { iopoll::POLLER }> {
        &self.poller
    }

    fn run(this: CtxRef) {
        iopoll::run_in_kthread(&this);
    }
}
