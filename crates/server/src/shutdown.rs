//! Signals: the first one stops gracefully, the second at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit status of a process that is interrupted for good: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// The signals that stop the server.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes the signals over; from now on they no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Ends the process at the next signal, whatever is still under way.
    pub(crate) fn exit_at_the_next(mut self) {
        tokio::spawn(async move {
            self.received().await;
            std::process::exit(INTERRUPTED);
        });
    }
}

/// The signal that asks to read the certificate again.
pub(crate) fn reload_signal() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
