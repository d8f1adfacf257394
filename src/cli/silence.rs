//! ONNX Runtime's wheels report to their maker: from 1.32 on, on Linux too, one that is loaded keeps an
//! identifier and a queue of events below `~/.cache/Microsoft`, and looks up the host they go to.
//! `DisableTelemetryEvents` (ort's `with_telemetry(false)`) comes too late for the first event and for
//! the files. A variable of the environment stops all of it.
#![allow(unsafe_code)]

/// Whatever the environment says. To be called before there are threads.
pub(super) fn no_telemetry() {
    // SAFETY: no other thread runs yet that could read the environment meanwhile.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}
