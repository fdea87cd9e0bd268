//! Whether a server still keeps up: how long it may be waited for, given what it has sent.
//!
//! - In: when reading waits, and what it brings. Out: whether the server is slower than any link one would use.
//! - The timeout of the socket starts again with each byte, so a byte now and then would hold a run for ever.
//! - Only time spent waiting for the server counts, not the time in which the store is behind.
//! - Not here: silence, which the socket ends, and how much a server may send (`limit`).

use std::time::{Duration, Instant};

/// Bytes a second within a response; the slowest links of phones carry ten times as much.
const WITHIN_RESPONSE: u64 = 1_024;

/// Bytes a second over all responses since a command. Servers that read every message to tell its size send about
/// 100 bytes for each; a word every few seconds that they are still there does not suffice.
const SINCE_COMMAND: u64 = 64;

/// Times the timeout that a response may be waited for beyond its pace: the socket's timeout alone, and as much
/// again for whoever was slow to notice that bytes came.
const TIMES_A_RESPONSE: u32 = 2;

/// The same for all since a command: a search in a large mailbox takes minutes.
const TIMES_A_COMMAND: u32 = 10;

/// The account of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    timeout: Duration,
    /// Since when the server is waited for.
    since: Option<Instant>,
    /// Waited for within the response that is being read.
    response: Duration,
    /// Waited for since something was last sent, and bytes that came.
    command: Duration,
    received: u64,
}

impl Pace {
    /// Of a server that may be silent this long.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            since: None,
            response: Duration::ZERO,
            command: Duration::ZERO,
            received: 0,
        }
    }

    /// Something was sent: the server may think again.
    pub fn sent(&mut self) {
        (self.command, self.received) = (Duration::ZERO, 0);
    }

    /// The server was asked for bytes: whether it is waited for now, and whether a response was begun before.
    pub fn asked(&mut self, now: Instant, is_waiting: bool, within_response: bool) {
        if let Some(since) = self.since {
            let waited = now.saturating_duration_since(since);
            self.command += waited;
            if within_response {
                self.response += waited;
            }
        }
        self.since = is_waiting.then_some(now);
    }

    /// Bytes came, and with them perhaps the end of a response.
    pub fn got(&mut self, bytes: u64, ends_response: bool) {
        self.received = self.received.saturating_add(bytes);
        if ends_response {
            self.response = Duration::ZERO;
        }
    }

    /// Whether the server keeps up, with so many bytes of the response that is being read.
    pub fn is_kept(&self, of_response: u64) -> bool {
        let allowed = |times, bytes, pace| {
            let timeouts = self.timeout.saturating_mul(times);
            timeouts.saturating_add(Duration::from_secs(bytes / pace))
        };
        self.response <= allowed(TIMES_A_RESPONSE, of_response, WITHIN_RESPONSE)
            && self.command <= allowed(TIMES_A_COMMAND, self.received, SINCE_COMMAND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until a server fails that sends `bytes` every `every` seconds, of one response or of many.
    fn fails_after(every: u64, bytes: u64, is_one: bool) -> Option<u64> {
        let (mut pace, start) = (Pace::new(Duration::from_secs(60)), Instant::now());
        pace.asked(start, true, false);
        let mut of_response = 0;
        for seconds in (0..100_000).step_by(every as usize).skip(1) {
            let now = start + Duration::from_secs(seconds);
            pace.asked(now, false, of_response > 0);
            pace.got(bytes, !is_one);
            of_response = if is_one { of_response + bytes } else { 0 };
            if !pace.is_kept(of_response) {
                return Some(seconds);
            }
            pace.asked(now, true, of_response > 0);
        }
        None
    }

    #[test]
    fn a_byte_now_and_then_is_not_waited_for_and_a_slow_link_is() {
        assert_eq!(fails_after(1, 1, true), Some(122), "a byte a second");
        assert_eq!(fails_after(59, 1, true), Some(236));
        assert_eq!(fails_after(1, 1_024, true), None, "8 kbit/s");
        assert_eq!(fails_after(50, 60 * 1_024, true), None, "the same in gusts");
    }

    #[test]
    fn words_without_end_are_not_waited_for_and_work_that_shows_is() {
        assert_eq!(
            fails_after(15, 18, false),
            Some(615),
            "`* OK Still here` is no work"
        );
        assert_eq!(fails_after(1, 100, false), None, "a size a second is");
    }

    #[test]
    fn a_store_that_is_behind_costs_the_server_nothing() {
        let (mut pace, start) = (Pace::new(Duration::from_secs(60)), Instant::now());
        for hour in 0..100 {
            let now = start + Duration::from_secs(3_600 * hour);
            pace.asked(now, true, true);
            pace.asked(now + Duration::from_millis(10), false, true);
            pace.got(100, false);
            assert!(pace.is_kept(100 * (hour + 1)));
        }
    }
}
