//! glibc's allocator keeps up to eight arenas a core, and a thread that begins may get one of its own.
//! A worker makes threads all its life (each new transactional producer brings some), and what lies
//! scattered over sixteen arenas is not given back: 240 MiB became 490 over 100,000 odd records,
//! and stay 240 to 390 with one arena a core. (Measured on 2 cores; `make accounted` looks at it.)
#![allow(unsafe_code)]

/// One arena a core, two at least, unless `MALLOC_ARENA_MAX` says otherwise. To be called before
/// there are threads.
pub(super) fn bound_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        let cores = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        // SAFETY: sets a number of the allocator; no other thread runs yet. Where it is refused,
        // everything is as before.
        let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, i32::try_from(cores).unwrap_or(i32::MAX)) };
    }
}
