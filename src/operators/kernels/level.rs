//! The instruction sets that the kernels are compiled for, chosen when the program runs.

/// What a kernel may use. Made only by [`Level::all`] and [`Level::best`], so that one which exists is one
/// that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(pub(super) Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What every processor of the architecture has: SSE2, NEON.
    Baseline,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// These and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Level {
    /// Those of this processor, the best one last. Never empty.
    pub fn all() -> Vec<Self> {
        let mut levels = vec![Self(Kind::Baseline)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx2 {
                levels.push(Self(Kind::Avx2));
            }
            if avx2 && avx512 {
                levels.push(Self(Kind::Avx512));
            }
            if avx2 && avx512 && is_x86_feature_detected!("avx512vnni") {
                levels.push(Self(Kind::Avx512Vnni));
            }
        }
        levels
    }

    /// The best one of this processor.
    pub fn best() -> Self {
        Self::all().pop().unwrap_or(Self(Kind::Baseline))
    }

    /// As shown to people.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            Kind::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => "avx512-vnni",
        }
    }
}

/// Fused multiply-add is an instruction of every 64-bit ARM; of x86 only from AVX2 on, and a slow call elsewhere.
pub(super) const BASELINE_FMA: bool = cfg!(target_arch = "aarch64");

/// Compiles a generic kernel `body::<N, FMA>` once for every level, and makes the function that picks one.
///
/// `N` is the number of floats in two vector registers: two, so that additions of a sum overlap. The attribute
/// stands around the whole kernel: what it calls must be `inline(always)`, or it falls back to scalar code.
///
/// `body` may be unsafe to call, if all that it wants is that the processor has what `N` stands for: AVX-512 for
/// 32, AVX2 and FMA for 16.
macro_rules! for_every_level {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        #[allow(unused_unsafe, reason = "most bodies are safe")]
        pub fn $name(level: $crate::operators::kernels::Level, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) {
                // SAFETY: this function can be called only where the processor has them.
                unsafe { $body::<16, true>($($arg),*) };
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) {
                // SAFETY: as above.
                unsafe { $body::<32, true>($($arg),*) };
            }
            match level.0 {
                $crate::operators::kernels::level::Kind::Baseline => {
                    // SAFETY: 8 stands for what every processor has.
                    unsafe { $body::<8, { $crate::operators::kernels::level::BASELINE_FMA }>($($arg),*) };
                }
                // SAFETY: a level exists only where the processor has what it stands for (see `Level`).
                #[cfg(target_arch = "x86_64")]
                $crate::operators::kernels::level::Kind::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::operators::kernels::level::Kind::Avx512
                | $crate::operators::kernels::level::Kind::Avx512Vnni => unsafe { avx512($($arg),*) },
            }
        }
    };
}
pub(super) use for_every_level;
