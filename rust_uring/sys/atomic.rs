// SPDX-License-Identifier: GPL-2.0

//! Atomic variables with the kernel's memory model, accessed in place.
//!
//! [`kernel::sync::atomic::Atomic`] calls a helper written in C for each access, as the functions it stands
//! for are inline ones. On x86 each of them is a single instruction: this wrapper of it says which, and
//! leaves everything else, and other architectures, to the crate.
//!
//! C header: [`arch/x86/include/asm/atomic.h`](srctree/arch/x86/include/asm/atomic.h)

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use kernel::sync::atomic::Atomic;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Atomic;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::{
        mem::transmute_copy,
        sync::atomic::{
            compiler_fence,
            AtomicPtr,
            AtomicU32,
            AtomicU64,
            AtomicU8,
            Ordering::{
                self,
                SeqCst, //
            }, //
        }, //
    };
    use kernel::{
        prelude::*,
        sync::atomic::{
            ordering,
            AtomicType, //
        }, //
    };

    /// An atomic variable. Loads are acquire and stores are release by nature; what reads and writes at
    /// once is a locked instruction, and a full barrier whatever was asked for.
    #[repr(transparent)]
    pub(crate) struct Atomic<T: AtomicType>(kernel::sync::atomic::Atomic<T>);

    impl<T: AtomicType> Atomic<T> {
        /// A variable with this value.
        pub(crate) const fn new(value: T) -> Self {
            Self(kernel::sync::atomic::Atomic::new(value))
        }

        /// The variable at `ptr`.
        ///
        /// # Safety
        ///
        /// As for [`kernel::sync::atomic::Atomic::from_ptr`].
        #[inline(always)]
        pub(crate) unsafe fn from_ptr<'a>(ptr: *mut T) -> &'a Self {
            // SAFETY: By the contract; this type is transparent.
            unsafe { &*ptr.cast() }
        }

        /// Where it is.
        #[inline(always)]
        pub(crate) const fn as_ptr(&self) -> *mut T {
            self.0.as_ptr()
        }

        /// `READ_ONCE()`, `smp_load_acquire()`
        #[inline(always)]
        pub(crate) fn load<O: ordering::AcquireOrRelaxed>(&self, _: O) -> T {
            // SAFETY: The variable is there. It is as large as a register at the most and aligned, so this
            // is one instruction.
            let value = unsafe { self.0.as_ptr().read_volatile() };
            if !matches!(O::TYPE, ordering::OrderingType::Relaxed) {
                compiler_fence(Ordering::Acquire);
            }
            value
        }

        /// `WRITE_ONCE()`, `smp_store_release()`
        #[inline(always)]
        pub(crate) fn store<O: ordering::ReleaseOrRelaxed>(&self, value: T, _: O) {
            if !matches!(O::TYPE, ordering::OrderingType::Relaxed) {
                compiler_fence(Ordering::Release);
            }
            // SAFETY: As for `load`.
            unsafe { self.0.as_ptr().write_volatile(value) }
        }
    }

    impl<T: Locked> Atomic<T> {
        /// `xchg()`
        #[inline(always)]
        pub(crate) fn xchg<O: ordering::Ordering>(&self, value: T, _: O) -> T {
            // SAFETY: The variable is there, and is used by atomic instructions only.
            unsafe { T::swap(self.0.as_ptr(), value) }
        }

        /// `cmpxchg()`: the old value, as an error if it is not the expected one.
        #[inline(always)]
        pub(crate) fn cmpxchg<O: ordering::Ordering>(
            &self,
            old: T,
            new: T,
            _: O,
        ) -> core::result::Result<T, T> {
            // SAFETY: As for `xchg`.
            unsafe { T::compare_exchange(self.0.as_ptr(), old, new) }
        }
    }

    impl<T: Counting> Atomic<T> {
        /// `atomic_fetch_add()`
        #[inline(always)]
        pub(crate) fn fetch_add<O: ordering::Ordering>(&self, value: T, _: O) -> T {
            // SAFETY: The variable is there, and is used by atomic instructions only.
            unsafe { T::add(self.0.as_ptr(), value) }
        }

        /// `atomic_fetch_sub()`
        #[inline(always)]
        pub(crate) fn fetch_sub<O: ordering::Ordering>(&self, value: T, _: O) -> T {
            // SAFETY: As for `fetch_add`.
            unsafe { T::sub(self.0.as_ptr(), value) }
        }
    }

    /// What `xchg` and `cmpxchg` are there for.
    pub(crate) trait Locked: AtomicType {
        /// # Safety
        ///
        /// `ptr` is valid and aligned, and what is there is accessed atomically by all.
        unsafe fn swap(ptr: *mut Self, value: Self) -> Self;

        /// # Safety
        ///
        /// As for [`Self::swap`].
        unsafe fn compare_exchange(
            ptr: *mut Self,
            old: Self,
            new: Self,
        ) -> core::result::Result<Self, Self>;
    }

    /// What can be counted with.
    pub(crate) trait Counting: AtomicType {
        /// # Safety
        ///
        /// As for [`Locked::swap`].
        unsafe fn add(ptr: *mut Self, value: Self) -> Self;

        /// # Safety
        ///
        /// As for [`Locked::swap`].
        unsafe fn sub(ptr: *mut Self, value: Self) -> Self;
    }

    macro_rules! locked {
        ($($name:ty: $atomic:ident = $repr:ty;)*) => {$(
            impl Locked for $name {
                #[inline(always)]
                unsafe fn swap(ptr: *mut Self, value: Self) -> Self {
                    static_assert!(size_of::<$name>() == size_of::<$repr>());
                    // SAFETY: Both have the same size.
                    let value = unsafe { transmute_copy::<Self, $repr>(&value) };
                    // SAFETY: By the contract; both have the same size and alignment.
                    let old = unsafe { $atomic::from_ptr(ptr.cast()) }.swap(value, SeqCst);
                    // SAFETY: A value that was stored as such.
                    unsafe { transmute_copy(&old) }
                }

                #[inline(always)]
                unsafe fn compare_exchange(
                    ptr: *mut Self,
                    old: Self,
                    new: Self,
                ) -> core::result::Result<Self, Self> {
                    // SAFETY: Both have the same size.
                    let (old, new) = unsafe {
                        (
                            transmute_copy::<Self, $repr>(&old),
                            transmute_copy::<Self, $repr>(&new),
                        )
                    };
                    // SAFETY: By the contract; both have the same size and alignment.
                    let result = unsafe { $atomic::from_ptr(ptr.cast()) }
                        .compare_exchange(old, new, SeqCst, SeqCst);
                    match result {
                        // SAFETY: A value that was stored as such.
                        Ok(old) => Ok(unsafe { transmute_copy(&old) }),
                        // SAFETY: As before.
                        Err(now) => Err(unsafe { transmute_copy(&now) }),
                    }
                }
            }
        )*};
    }

    locked! {
        bool: AtomicU8 = u8;
        u32: AtomicU32 = u32;
        i32: AtomicU32 = u32;
        u64: AtomicU64 = u64;
    }

    impl<P> Locked for *mut P {
        #[inline(always)]
        unsafe fn swap(ptr: *mut Self, value: Self) -> Self {
            // SAFETY: By the contract.
            unsafe { AtomicPtr::from_ptr(ptr) }.swap(value, SeqCst)
        }

        #[inline(always)]
        unsafe fn compare_exchange(
            ptr: *mut Self,
            old: Self,
            new: Self,
        ) -> core::result::Result<Self, Self> {
            // SAFETY: By the contract.
            unsafe { AtomicPtr::from_ptr(ptr) }.compare_exchange(old, new, SeqCst, SeqCst)
        }
    }

    macro_rules! counting {
        ($($name:ty: $atomic:ident = $repr:ty;)*) => {$(
            impl Counting for $name {
                #[inline(always)]
                unsafe fn add(ptr: *mut Self, value: Self) -> Self {
                    // SAFETY: By the contract; both have the same size and alignment. CAST: Same bits.
                    unsafe { $atomic::from_ptr(ptr.cast()) }.fetch_add(value as $repr, SeqCst) as $name
                }

                #[inline(always)]
                unsafe fn sub(ptr: *mut Self, value: Self) -> Self {
                    // SAFETY: By the contract; both have the same size and alignment. CAST: Same bits.
                    unsafe { $atomic::from_ptr(ptr.cast()) }.fetch_sub(value as $repr, SeqCst) as $name
                }
            }
        )*};
    }

    counting! {
        u32: AtomicU32 = u32;
        i32: AtomicU32 = u32;
        u64: AtomicU64 = u64;
    }
}
